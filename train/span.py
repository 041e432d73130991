"""The layers that an adapter reads together, where it reads several, and why it may not.

Knows layers and their shapes; nothing of what is computed from them.
"""

from .adapter import Scope

Layers = tuple[int, ...]


def windows(layers: Layers, num_layers: int) -> list[Layers]:
    """Return every run of `num_layers` neighbours among the chosen layers; all of them where there are fewer."""
    if num_layers > len(layers):
        return [layers]
    return [layers[end - num_layers : end] for end in range(num_layers, len(layers) + 1)]


def ladder(layers: Layers, every: int = 1) -> list[Layers]:
    """Return the outputs of the chosen blocks, every so many counted from the last; not the embeddings, layer 0."""
    blocks = tuple(layer for layer in layers if layer) or layers
    return [blocks[::-1][:: max(1, every)][::-1]]


def unfit(scope: Scope, num_layers: int = 1, needs_patches: bool = True) -> str | None:
    """Say why some layers cannot be read together, token by token; None if they can."""
    if len(scope.layers) < num_layers:
        return (
            f"it reads {num_layers} layers together, and the sweep has {list(scope.layers)}; choose more --layers, or "
            "extract more"
        )
    if len({(spec.num_tokens, spec.width) for spec in scope.specs.values()}) > 1:
        shapes = ", ".join(f"{k}: {spec.num_tokens} x {spec.width}" for k, spec in sorted(scope.specs.items()))
        return f"it reads layers token by token, and they differ in tokens x width ({shapes}); choose alike --layers"
    if needs_patches and scope.spec.num_tokens == scope.spec.num_prefix:
        return f"it needs patch tokens, and the store has {scope.spec.num_tokens} others; extract with --tokens all"
    return None
