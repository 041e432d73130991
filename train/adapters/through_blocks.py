"""The common part of families whose queries pass through the backbone's frozen blocks.

Block l has layer l-1 as its input, so that these families read all layers from 0 on together.
"""

from functools import cached_property

from icecore.store import SUM

from ..modules.frozen_block import FrozenBlock
from .adapter import Adapter, ConfigT, Scope


class ThroughBlocks(Adapter[ConfigT]):
    """A family whose queries attend to the inputs of all frozen blocks below the deepest layer."""

    @classmethod
    def layer_groups(cls, config: ConfigT, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Read all layers together."""
        return [layers]

    @classmethod
    def frozen_prefixes(cls, layers: tuple[int, ...]) -> tuple[str, ...]:
        """Return the prefixes of the blocks between the layers, and of the final norm."""
        return ("norm.", *(f"blocks.{layer}." for layer in layers[:-1]))

    @classmethod
    def incompatibility(cls, config: ConfigT, scope: Scope) -> str | None:
        """Refuse layers with gaps, a store without all tokens, and a store without the blocks or the final norm."""
        if SUM in scope.layers:
            return "it reads the input of every block, not the sum of the layers; extract again with --layers all"
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
        """The layer that is the input of each block, in the order of the blocks."""
        return self.scope.layers[:-1]

    @cached_property
    def blocks(self) -> list[FrozenBlock]:
        """The frozen blocks, on the device on which the stack is first used."""
        device = next(self.parameters()).device
        return [self.scope.blocks[layer].to(device) for layer in self.inputs]
