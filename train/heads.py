"""What families share whose attention has heads of one size: how many there are, and which numbers are refused."""

from icecore.store import Frozen

from .adapter import Adapter, Scope

HEAD_WIDTH = 64  # of the usual vision transformers


def default_heads(width: int) -> int:
    """Return one head for every 64 channels, or the next smaller number that divides the width."""
    return next(count for count in range(max(1, width // HEAD_WIDTH), 0, -1) if width % count == 0)


class HeadsConfig(Frozen):
    """`num_heads` None: one for every 64 channels."""

    num_heads: int | None = None


class WithHeads(Adapter):
    """A stack with one attention over tokens of the layer's width."""

    @classmethod
    def settle(cls, config: Frozen, scope: Scope) -> Frozen:
        """Fill in the number of heads."""
        assert isinstance(config, HeadsConfig)
        return config.model_copy(update={"num_heads": config.num_heads or default_heads(scope.spec.width)})

    @classmethod
    def refuse(cls, config: Frozen, scope: Scope) -> str | None:
        """Refuse heads that do not divide the width."""
        assert isinstance(config, HeadsConfig)
        if not config.num_heads or config.num_heads < 1 or scope.spec.width % config.num_heads:
            return f"{config.num_heads} heads: expected a divisor of the width {scope.spec.width}; choose --heads"
        return None

    @property
    def num_heads(self) -> int:
        """How many heads there are."""
        assert isinstance(self.config, HeadsConfig)
        assert self.config.num_heads is not None  # settled
        return self.config.num_heads
