"""A residual bottleneck after the MLP of every block, shared by the methods adapter and compacter.

m + Up(act(Down(LN(m)))) for the MLP's output m, before the block's residual addition (Houlsby et al. 2019, after the
MLP alone). Knows neither how Down and Up store their weights nor the activation.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

Tokens = Float[Tensor, "batch token width"]
MakeLinear = Callable[[int, int, bool], nn.Module]  # width in, width out, and whether its weight begins as zero
Activation = Callable[[Tensor], Tensor]


class Bottleneck(nn.Module):
    """An MLP followed by a residual bottleneck of `hidden` units."""

    def __init__(self, mlp: nn.Module, width: int, hidden: int, linear: MakeLinear, activation: Activation) -> None:
        super().__init__()
        self._activation = activation
        self.mlp = mlp
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.down = linear(width, hidden, False)
        self.up = linear(hidden, width, True)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return the MLP's output plus the bottleneck's output."""
        outputs = self.mlp(tokens)
        return outputs + self.up(self._activation(self.down(self.norm(outputs))))


def add_bottlenecks(model: Any, hidden: int, linear: MakeLinear, activation: Activation) -> None:
    """Add a bottleneck of `hidden` units to every block of a timm vision transformer, in place."""
    for block in model.blocks:
        block.mlp = Bottleneck(block.mlp, model.embed_dim, hidden, linear, activation)
