"""Parts that adapter families share: heads, groups of layers, and the tokens that a side network pools."""

from typing import Literal, TypeVar

from icecore.store import Frozen, LayerSpec

from .adapter import Scope
from .optional import ShowsAttention

HEAD_WIDTH = 64  # channels of a head in common vision transformers


def default_heads(width: int) -> int:
    """Return the number of heads for a width: one for every 64 channels, or the next smaller divisor of the width.

    >>> default_heads(192), default_heads(100)
    (3, 1)
    """
    return next(count for count in range(max(1, width // HEAD_WIDTH), 0, -1) if width % count == 0)


class HeadsConfig(Frozen):
    """The number of heads; None is one head for every 64 channels."""

    num_heads: int | None = None


HeadsConfigT = TypeVar("HeadsConfigT", bound=HeadsConfig)


class WithHeads(ShowsAttention[HeadsConfigT]):
    """A family with one attention over tokens of the layer's width."""

    @classmethod
    def resolve(cls, config: HeadsConfigT, scope: Scope) -> Frozen:
        """Set the number of heads."""
        return config.model_copy(update={"num_heads": config.num_heads or default_heads(scope.spec.width)})

    @classmethod
    def incompatibility(cls, config: HeadsConfigT, scope: Scope) -> str | None:
        """Refuse a number of heads that does not divide the width."""
        if not config.num_heads or config.num_heads < 1 or scope.spec.width % config.num_heads:
            return f"{config.num_heads} heads: expected a divisor of the width {scope.spec.width}; choose --heads"
        return None

    @property
    def num_heads(self) -> int:
        """The number of heads."""
        assert self.config.num_heads is not None  # `resolve` has set it
        return self.config.num_heads


Layers = tuple[int, ...]


def windows(layers: Layers, num_layers: int) -> list[Layers]:
    """Return every run of `num_layers` neighbouring layers; all layers as one group if there are fewer.

    >>> windows((0, 3, 6), 2)
    [(0, 3), (3, 6)]
    """
    if num_layers > len(layers):
        return [layers]
    return [layers[end - num_layers : end] for end in range(num_layers, len(layers) + 1)]


def ladder(layers: Layers, every: int = 1) -> list[Layers]:
    """Return one group with every `every`-th layer counted from the last, without the embeddings (layer 0).

    >>> ladder((0, 1, 2, 3, 4), every=2)
    [(2, 4)]
    """
    blocks = tuple(layer for layer in layers if layer) or layers
    return [blocks[::-1][:: max(1, every)][::-1]]


def incompatible_layers(scope: Scope, num_layers: int = 1, needs_patches: bool = True) -> str | None:
    """Return why the layers of a scope cannot be read together, token by token; None if they can."""
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


SidePooling = Literal["cls", "mean"]


def pooled_tokens(pooling: SidePooling, spec: LayerSpec) -> slice:
    """Return the slice of the token axis that a side network pools: the CLS token, or all patches."""
    return slice(0, 1) if pooling == "cls" else slice(spec.num_prefix, None)


def refuse_pooling(pooling: SidePooling, scope: Scope) -> str | None:
    """Return why a side network cannot pool `pooling` in a scope; None if it can."""
    if pooling == "cls" and scope.spec.num_prefix == 0:
        return "side_pooling 'cls' needs a CLS token, and the store has none; use side_pooling: mean"
    return None
