"""A small residual network behind the MLP of every block: where adapters and Compacter put theirs.

m + Up(act(Down(LN(m)))), before the block adds it to its stream (Houlsby et al. 2019, after the MLP alone). Knows
nothing of how Down and Up hold their weights, nor which activation a method has.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

Tokens = Float[Tensor, "batch token width"]
MakeLinear = Callable[[int, int, bool], nn.Module]  # width in, width out, and whether its weight begins as zero
Activation = Callable[[Tensor], Tensor]


class Bottleneck(nn.Module):
    """An MLP and the small network that sees its output."""

    def __init__(self, mlp: nn.Module, width: int, hidden: int, linear: MakeLinear, activation: Activation) -> None:
        super().__init__()
        self._activation = activation
        self.mlp = mlp
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.down = linear(width, hidden, False)
        self.up = linear(hidden, width, True)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return what the MLP says, and what the small network adds."""
        said = self.mlp(tokens)
        return said + self.up(self._activation(self.down(self.norm(said))))


def add_bottlenecks(model: Any, hidden: int, linear: MakeLinear, activation: Activation) -> None:
    """Put one into every block of a vision transformer."""
    for block in model.blocks:
        block.mlp = Bottleneck(block.mlp, model.embed_dim, hidden, linear, activation)
