"""Named weights of a transformer's blocks, and modules whose output is added to a weight at every use.

A frozen weight W is used as W + change(), by PyTorch's parametrizations: training, inference and the merged model run
the same matrix product, and no image can influence another. Knows timm's packed projections, but not how a change is
made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from icecore.store import UsageError, choose

from .weight_location import SUBMODULES, WeightLocation


@dataclass(frozen=True)
class Submodule:
    """One named weight of one block."""

    linear: nn.Linear
    location: WeightLocation

    @property
    def shape(self) -> tuple[int, int]:
        """Output and input width of the named weight, (rows, columns)."""
        return self.linear.out_features // self.location.num_parts, self.linear.in_features

    def add(self, change: nn.Module) -> None:
        """Add `change()`, of this `shape`, to the weight whenever the weight is used."""
        parametrize.register_parametrization(self.linear, "weight", Changed(change, self.location))

    def add_bias(self, change: nn.Module) -> None:
        """Add `change()`, a vector of output width, to the bias whenever the bias is used.

        Raises:
            UsageError: the layer has no bias.
        """
        if self.linear.bias is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise UsageError(f"{self.location.module} has no bias in this backbone; use bias: false")
        parametrize.register_parametrization(self.linear, "bias", Changed(change, self.location))


class Changed(nn.Module):
    """A parametrization that adds the output of a module to one row range of a weight or bias."""

    def __init__(self, change: nn.Module, location: WeightLocation) -> None:
        super().__init__()
        self.change = change
        self._location = location

    def forward(self, weight: Float[Tensor, "out *width"]) -> Float[Tensor, "out *width"]:
        """Return the changed weight or bias; every other row is as in `weight`."""
        parts = list(weight.chunk(self._location.num_parts))
        parts[self._location.part] = parts[self._location.part] + self.change()
        return torch.cat(parts)


def submodules(model: Any, name: str) -> Iterator[Submodule]:
    """Yield the weight named `name`, a key of SUBMODULES, of every block of a timm model, the first block first.

    Raises:
        UsageError: an unknown name, or a block whose module of that name is not a linear layer.
    """
    location = choose(SUBMODULES, name, "submodule")
    for block in model.blocks:
        linear = attrgetter(location.module)(block)
        if not isinstance(linear, nn.Linear):
            raise UsageError(
                f"submodule {name!r}: {location.module} is not a linear layer in {type(model).__name__}; choose another"
            )
        yield Submodule(linear, location)
