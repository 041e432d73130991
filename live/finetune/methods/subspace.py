"""Training of one kind of weight within a random subspace, for measuring local intrinsic dimension.

theta = theta0 + P z with a fixed random P (Li et al. 2018, here of one submodule in all blocks). P is sparse: each
weight is one entry of z times a random sign, divided by the square root of how many weights use that entry. Its columns
are orthonormal, and a product with P costs one gather.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ..method import Method
from ..submodules import submodules


class Subspace(Method):
    """Train the weight `module` of all blocks within `dimension` random directions; 0 trains the whole weight."""

    lrs = (1e-3, 3e-2)
    module: str = "query"
    dimension: int = Field(default=0, ge=0)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Add the change to the weight of every block; all blocks share z."""
        weights = list(submodules(model, self.module))
        z = nn.Parameter(torch.zeros(self.dimension)) if self.dimension else None
        num = sum(math.prod(weight.shape) for weight in weights)
        entries = torch.randperm(num, generator=generator) % max(
            1, self.dimension
        )  # each used equally often, up to one
        signs = torch.randint(0, 2, (num,), generator=generator) * 2.0 - 1
        scales = signs / torch.bincount(entries, minlength=max(1, self.dimension)).sqrt()[entries]
        start = 0
        for weight in weights:
            part = slice(start, start + math.prod(weight.shape))
            start = part.stop
            weight.add(_Whole(weight.shape) if z is None else _Directions(z, entries[part], scales[part], weight.shape))


class _Whole(nn.Module):
    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.zeros(shape))

    def forward(self) -> Float[Tensor, "out width"]:
        return self.change


class _Directions(nn.Module):
    places: Tensor
    scales: Tensor

    def __init__(self, z: nn.Parameter, places: Tensor, scales: Tensor, shape: tuple[int, int]) -> None:
        super().__init__()
        self.z = z
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        self._shape = shape

    def forward(self) -> Float[Tensor, "out width"]:
        return (self.z[self.places] * self.scales).view(self._shape)
