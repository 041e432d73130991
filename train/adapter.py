"""The contract of an adapter family.

An adapter is a small trained module with its classifier. It is written as a **stack**: every tensor it trains has a
leading `adapter` axis, one forward serves all, and one adapter is a stack of one. The adapters of a stack share family,
configuration and layers, and nothing else: no parameter, no statistic, no randomness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icecore.store import Frozen, FrozenBackbone, IcecoreError, LayerSpec, StoreSpec

from .seen import Seen


@dataclass(frozen=True)
class Scope:
    """What an adapter may know before it sees a row. `frozen` holds the backbone's tensors, by timm's names."""

    layers: tuple[int, ...]
    specs: dict[int, LayerSpec]
    num_outputs: int
    eps: float
    frozen: dict[str, Tensor]

    @property
    def spec(self) -> LayerSpec:
        """The shape of the deepest layer."""
        return self.specs[max(self.layers)]


class Adapter(nn.Module):
    """A stack of adapters of one family and configuration; subclasses say what they read, draw and compute."""

    Config: ClassVar[type[Frozen]]
    reads: ClassVar[Literal["features", "attention", "tokens"]]
    uses: ClassVar[tuple[str, ...]] = ()  # prefixes of the frozen tensors it needs, in training and in a bundle

    def __init__(self, config: Frozen, scope: Scope, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.config = config
        self.scope = scope
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor.detach().clone()))

    @classmethod
    def spans(cls, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Say which layers are read together; one layer each, unless a family needs several aligned."""
        return [(layer,) for layer in layers]

    @classmethod
    def settle(cls, config: Frozen, scope: Scope) -> Frozen:
        """Replace what was left open in a configuration by what it means here."""
        return config

    @classmethod
    def refuse(cls, config: Frozen, scope: Scope) -> str | None:
        """Say why this cannot be trained here, and what to do; None if it can. Called before anything is read."""
        return None

    @classmethod
    def draw(cls, config: Frozen, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the initial parameters of one adapter, without the `adapter` axis."""
        raise NotImplementedError

    @classmethod
    def start(cls, config: Frozen, scope: Scope, seeds: Sequence[int]) -> "Adapter":
        """Make a stack with one adapter a seed."""
        drawn = [cls.draw(config, scope, torch.Generator().manual_seed(seed)) for seed in seeds]
        return cls(config, scope, {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]})

    @property
    def num_adapters(self) -> int:
        """How many adapters are in the stack."""
        return len(next(self.parameters()))

    @property
    def num_parameters(self) -> int:
        """How many numbers one adapter trains."""
        return sum(parameter[0].numel() for parameter in self.parameters())

    def subset(self, keep: Sequence[int]) -> "Adapter":
        """Return a stack of some of the adapters."""
        return type(self)(self.config, self.scope, {name: p[list(keep)] for name, p in self.named_parameters()})

    def queries(self) -> dict[int, Float[Tensor, "adapter folded width"]]:
        """Return the folded queries for each layer's normalised tokens; a family that does not attend has none."""
        return {}

    def forward(self, seen: Seen) -> Float[Tensor, "adapter row classes"]:
        """Return the outputs of every adapter for a batch; `seen.pooled` answers `queries`."""
        raise NotImplementedError


def make_scope(spec: StoreSpec, backbone: FrozenBackbone, layers: tuple[int, ...], family: type[Adapter]) -> Scope:
    """Return what a family may know of a store."""
    eps = backbone.config.get("eps")
    if not isinstance(eps, float):
        raise IcecoreError(f"backbone/config.json: eps is {eps!r}, expected the number in its norms; extract again")
    return Scope(
        layers=layers,
        specs={layer: spec.layers[layer] for layer in layers},
        num_outputs=len(spec.classes),
        eps=eps,
        frozen={name: backbone.tensors[name] for name in backbone.tensors if name.startswith(family.uses or "\0")},
    )
