"""LoRA (Hu et al. 2022): W' = W + alpha / r * B A, with A and B of rank r.

A ~ N(0, 0.02^2) and B is zero at the start. Each weight has its own factors.
"""

from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ..method import Method, draw
from ..submodules import submodules


class LoRA(Method):
    """Add a product of rank `rank`, times `alpha` / `rank`, to the weights `modules` of every block."""

    lrs = (1e-3, 3e-3)
    rank: int = Field(default=4, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    modules: tuple[str, ...] = ("query", "value")

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Add the factors to every block."""
        for name in self.modules:
            for submodule in submodules(model, name):
                submodule.add(_LowRank(*submodule.shape, self.rank, self.alpha / self.rank, generator))


class _LowRank(nn.Module):
    def __init__(self, num_out: int, num_in: int, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.a = draw(rank, num_in, std=0.02, generator=generator)
        self.b = nn.Parameter(torch.zeros(num_out, rank))
        self._scale = scale

    def forward(self) -> Float[Tensor, "out width"]:
        return self._scale * self.b @ self.a
