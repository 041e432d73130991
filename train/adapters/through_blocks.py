"""What families share whose queries pass through the backbone's frozen blocks: what they read, use and refuse.

Block l has layer l-1 as its input, so that such a family reads all layers from 0 on at once. Knows no family.
"""

from functools import cached_property

from icecore.store import SUM

from ..modules.frozen_block import FrozenBlock
from .adapter import Adapter, ConfigT, Scope


class ThroughBlocks(Adapter[ConfigT]):
    """A stack that looks at the inputs of all frozen blocks below the deepest layer."""

    @classmethod
    def layer_groups(cls, config: ConfigT, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Read all layers together."""
        return [layers]

    @classmethod
    def frozen_prefixes(cls, layers: tuple[int, ...]) -> tuple[str, ...]:
        """Use the blocks between the layers, and the final norm."""
        return ("norm.", *(f"blocks.{layer}." for layer in layers[:-1]))

    @classmethod
    def incompatibility(cls, config: ConfigT, scope: Scope) -> str | None:
        """Refuse layers with gaps, tokens that are not all, a backbone whose blocks or final norm are not there."""
        if SUM in scope.layers:
            return "it looks at the input of every block, not at their sum; extract again with --layers all"
        deepest, facts = max(scope.layers), scope.backbone.config
        if len(scope.layers) < 2 or scope.layers != tuple(range(deepest + 1)):
            return (
                f"got layers {', '.join(map(str, scope.layers))}, expected all from 0 to the deepest: the input of "
                f"every block; train with --layers 0-{deepest or 1}, or extract again with --layers 0-{deepest or 1}"
            )
        if scope.tokens != "all":
            return f"needs every token, and the store has {scope.tokens!r}; extract again with --tokens all"
        if facts.get("rebuild") is None:
            why_not = facts.get("why_not") or "the store does not say how"
            return f"needs the backbone's frozen blocks, which cannot be rebuilt: {why_not}; choose another backbone"
        needed = [f"blocks.{layer}." for layer in scope.layers[:-1]] + ["norm."]
        missing = [prefix for prefix in needed if not any(name.startswith(prefix) for name in scope.frozen)]
        if missing:
            return f"needs the backbone's frozen tensors {missing[0]}*, and the store has none; extract again"
        return None

    @property
    def inputs(self) -> tuple[int, ...]:
        """The layers that are the input of a block, block after block."""
        return self.scope.layers[:-1]

    @cached_property
    def blocks(self) -> list[FrozenBlock]:
        """The frozen blocks, on the device where the stack is first used."""
        device = next(self.parameters()).device
        return [self.scope.blocks[layer].to(device) for layer in self.inputs]
