"""The weights of a transformer's blocks by name, and changing them without touching them.

A change is added to a frozen weight each time it is used, so training, inference and the merged model use one product,
and no image can meet another. Knows timm's packed projections; nothing of how a change is made.
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


@dataclass(frozen=True)
class Place:
    """A weight of a block: the module that holds it, and which of its equal parts, by rows, is meant."""

    module: str
    part: int = 0
    num_parts: int = 1


SUBMODULES: dict[str, Place] = {
    "query": Place("attn.qkv", 0, 3),
    "key": Place("attn.qkv", 1, 3),
    "value": Place("attn.qkv", 2, 3),
    "projection": Place("attn.proj"),
    "fc1": Place("mlp.fc1"),
    "fc2": Place("mlp.fc2"),
}


@dataclass(frozen=True)
class Submodule:
    """One named weight of one block."""

    linear: nn.Linear
    place: Place

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers that go out and come in."""
        return self.linear.out_features // self.place.num_parts, self.linear.in_features

    def add(self, change: nn.Module) -> None:
        """Let what `change()` returns, of this shape, be added to the weight from now on."""
        parametrize.register_parametrization(self.linear, "weight", Changed(change, self.place))

    def add_bias(self, change: nn.Module) -> None:
        """Let what `change()` returns be added to the bias from now on; UsageError where there is none."""
        if self.linear.bias is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise UsageError(f"{self.place.module} has no bias in this backbone; use bias: false")
        parametrize.register_parametrization(self.linear, "bias", Changed(change, self.place))


class Changed(nn.Module):
    """A weight or a bias, one part of which has something added."""

    def __init__(self, change: nn.Module, place: Place) -> None:
        super().__init__()
        self.change = change
        self._place = place

    def forward(self, weight: Float[Tensor, "out *width"]) -> Float[Tensor, "out *width"]:
        """Return the changed weight, or the changed bias."""
        parts = list(weight.chunk(self._place.num_parts))
        parts[self._place.part] = parts[self._place.part] + self.change()
        return torch.cat(parts)


def submodules(model: Any, name: str) -> Iterator[Submodule]:
    """Yield the weight of that name in every block, the first block first."""
    place = choose(SUBMODULES, name, "submodule")
    for block in model.blocks:
        linear = attrgetter(place.module)(block)
        if not isinstance(linear, nn.Linear):
            raise UsageError(f"submodule {name!r}: {place.module} is no linear layer in {type(model).__name__}")
        yield Submodule(linear, place)
