"""Training one kind of weight within a random subspace: what local intrinsic dimension is measured with.

theta = theta0 + P z with a fixed random P (Li et al. 2018, here of one submodule in all blocks). P is sparse: each
weight is one number of z times a random sign, over the root of how often that number is used. Its columns are
orthonormal, and a product with it costs one gather.
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
    """Train one kind of weight within `dimension` random directions; 0 is all of it."""

    lrs = (1e-3, 3e-2)
    module: str = "query"
    dimension: int = Field(default=0, ge=0)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Add the change to the weight of every block, all from one z."""
        found = list(submodules(model, self.module))
        z = nn.Parameter(torch.zeros(self.dimension)) if self.dimension else None
        num = sum(math.prod(one.shape) for one in found)
        places = torch.randperm(num, generator=generator) % max(1, self.dimension)  # as often, give or take one
        signs = torch.randint(0, 2, (num,), generator=generator) * 2.0 - 1
        scales = signs / torch.bincount(places, minlength=max(1, self.dimension)).sqrt()[places]
        start = 0
        for one in found:
            mine = slice(start, start + math.prod(one.shape))
            start = mine.stop
            one.add(_Whole(one.shape) if z is None else _Directions(z, places[mine], scales[mine], one.shape))


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
