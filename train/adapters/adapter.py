"""The contract of an adapter family.

An adapter is a small trained module with its own classifier. A family is written as a **stack**: every trained tensor
has a leading `adapter` axis, one forward serves all adapters, and a single adapter is a stack of one. The adapters of a
stack share family, configuration and layers, and nothing else: no parameter, no statistic, no randomness.

Abilities that few families have are in `icecore.train.adapters.optional`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float
from pydantic import JsonValue
from torch import Tensor, nn

from icecore.store import Frozen, FrozenBackbone, IcecoreError, LayerSpec, Store

from ..modules.frozen_block import FrozenBlock
from ..modules.noise import Noise
from ..tokens.batch import Reads, TokenBatch

ConfigT = TypeVar("ConfigT", bound=Frozen)


@dataclass(frozen=True)
class Scope:
    """The facts that a family may use before it sees a row: its layers, their shapes, the backbone's frozen parts."""

    layers: tuple[int, ...]
    specs: dict[int, LayerSpec]
    num_outputs: int  # classes, or numbers to regress
    backbone: FrozenBackbone
    tokens: str = "all"  # the tokens that the store keeps of each layer, as `extract --tokens` names them

    @property
    def spec(self) -> LayerSpec:
        """The shape of the deepest layer."""
        return self.specs[max(self.layers)]

    @property
    def frozen(self) -> dict[str, Tensor]:
        """The backbone's frozen tensors under `Adapter.frozen_prefixes`, by timm's names."""
        return self.backbone.tensors

    @cached_property
    def blocks(self) -> dict[int, FrozenBlock]:
        """The frozen block that reads each layer, for all layers but the deepest.

        Raises:
            IcecoreError: the store lacks a block, or the backbone's blocks cannot be rebuilt.
        """
        return {k: FrozenBlock.of(self.backbone.config, self.frozen, k) for k in self.layers[:-1]}

    @property
    def eps(self) -> float:
        """The epsilon of the backbone's norms."""
        eps = self.backbone.config.get("eps")
        if not isinstance(eps, float):
            raise IcecoreError(f"backbone/config.json: eps is {eps!r}, expected the number in its norms; extract again")
        return eps


class Adapter(nn.Module, Generic[ConfigT]):
    """A stack of adapters of one family and configuration.

    A subclass sets `Config` and `reads`, and defines `init_parameters` and `forward`; every other member has a default.
    """

    Config: ClassVar[type[Frozen]]
    reads: ClassVar[frozenset[Reads]]  # the tables of a TokenBatch that `forward` uses
    untrained: ClassVar[tuple[str, ...]] = ()  # initial tensors that no gradient moves: statistics, masks
    reads_layer_sum: ClassVar[bool] = False  # the sum of the layers is all that the family needs of them
    before: ClassVar[Mapping[str, JsonValue]] = {}  # values of the fields that earlier versions did not record
    noise: Noise | None = None  # random numbers of the current training step; None outside of training

    def __init__(self, config: ConfigT, scope: Scope, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.config = config
        self.scope = scope
        for name, tensor in tensors.items():
            copy = tensor.detach().clone()
            if name in self.untrained:
                self.register_buffer(name, copy)
            else:
                self.register_parameter(name, nn.Parameter(copy))

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return the values of each axis that a sweep tries by default; `spec` is the shape of the deepest layer."""
        return {"lr": (1e-3, 3e-3), "weight_decay": (0.01, 0.3)}

    @classmethod
    def layer_groups(cls, config: ConfigT, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the groups of layers that one adapter reads together: by default each layer by itself."""
        return [(layer,) for layer in layers]

    @classmethod
    def frozen_prefixes(cls, layers: tuple[int, ...]) -> tuple[str, ...]:
        """Return name prefixes of the backbone's frozen tensors that the family needs, in training and in a bundle."""
        return ()

    @classmethod
    def recorded(cls, config: Mapping[str, JsonValue]) -> Frozen:
        """Return the configuration that a RUN or a bundle recorded, with `before` for fields of later versions."""
        return cls.Config.model_validate({**cls.before, **config})

    @classmethod
    def resolve(cls, config: ConfigT, scope: Scope) -> Frozen:
        """Return the configuration with every open field (such as `num_heads: None`) set to its value in `scope`."""
        return config

    @classmethod
    def incompatibility(cls, config: ConfigT, scope: Scope) -> str | None:
        """Return why this adapter cannot be trained in `scope`, and what to do; None if it can. Reads no token."""
        return None

    @classmethod
    def init_parameters(cls, config: ConfigT, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the initial tensors of one adapter, without the `adapter` axis."""
        raise NotImplementedError

    @classmethod
    def build(cls, config: ConfigT, scope: Scope, seeds: Sequence[int]) -> "Adapter[ConfigT]":
        """Return a stack with one freshly drawn adapter for each seed."""
        drawn = [cls.init_parameters(config, scope, torch.Generator().manual_seed(seed)) for seed in seeds]
        return cls(config, scope, {name: torch.stack([tensors[name] for tensors in drawn]) for name in drawn[0]})

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that define the adapters, trained or not, by name."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    @property
    def num_adapters(self) -> int:
        """The number of adapters in the stack."""
        return len(next(self.parameters()))

    @property
    def num_parameters(self) -> int:
        """The number of trained scalars of one adapter."""
        return sum(parameter[0].numel() for parameter in self.parameters())

    def subset(self, keep: Sequence[int]) -> "Adapter[ConfigT]":
        """Return a stack of the adapters at the indices `keep`."""
        return type(self)(self.config, self.scope, {name: t[list(keep)] for name, t in self.tensors().items()})

    def queries(self) -> dict[int, Float[Tensor, "adapter folded width"]]:
        """Return, by layer, folded queries to attend with to the normalised tokens; by default none.

        One product attends with the queries of all stacks; `forward` finds the result in `batch.pooled`.
        """
        return {}

    def penalty(self) -> Float[Tensor, " adapter"] | None:
        """Return a penalty that training adds to each adapter's loss; None adds nothing."""
        return None

    def drop(
        self, values: Float[Tensor, "adapter *shape"], rate: float | None = None
    ) -> Float[Tensor, "adapter *shape"]:
        """Apply dropout in training, at `rate` or at the rate of each adapter's recipe."""
        return values if self.noise is None else self.noise.drop(values, rate)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Return the outputs of every adapter for a batch."""
        raise NotImplementedError


def make_scope(store: Store, layers: tuple[int, ...], family: type[Adapter]) -> Scope:
    """Return the scope of a family that reads `layers` of a store."""
    return Scope(
        layers=layers,
        specs={layer: store.spec.layers[layer] for layer in layers},
        num_outputs=len(store.classes),
        backbone=store.frozen_parts(family.frozen_prefixes(layers)),
        tokens=store.identity.tokens,
    )
