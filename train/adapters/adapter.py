"""The contract of an adapter family.

An adapter is a small trained module with its classifier. It is written as a **stack**: every tensor it trains has a
leading `adapter` axis, one forward serves all, and one adapter is a stack of one. The adapters of a stack share family,
configuration and layers, and nothing else: no parameter, no statistic, no randomness.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from pydantic import JsonValue
from torch import Tensor, nn

from icecore.store import Frozen, FrozenBackbone, IcecoreError, LayerSpec, Store

from ..modules.frozen_block import FrozenBlock
from ..modules.noise import Noise
from ..targets.target import Labels, Target
from ..tokens.batch import Reads, TokenBatch


@dataclass(frozen=True)
class Scope:
    """What an adapter may know before it sees a row."""

    layers: tuple[int, ...]
    specs: dict[int, LayerSpec]
    num_outputs: int
    backbone: FrozenBackbone
    tokens: str = "all"  # that the store keeps of each layer

    @property
    def spec(self) -> LayerSpec:
        """The shape of the deepest layer."""
        return self.specs[max(self.layers)]

    @property
    def frozen(self) -> dict[str, Tensor]:
        """The backbone's frozen tensors that the family uses, by timm's names."""
        return self.backbone.tensors

    @cached_property
    def blocks(self) -> dict[int, FrozenBlock]:
        """The frozen blocks by the layer that each reads, of all layers but the deepest; IcecoreError if not there."""
        return {k: FrozenBlock.of(self.backbone.config, self.frozen, k) for k in self.layers[:-1]}

    @property
    def eps(self) -> float:
        """What the backbone's norms add to a variance."""
        eps = self.backbone.config.get("eps")
        if not isinstance(eps, float):
            raise IcecoreError(f"backbone/config.json: eps is {eps!r}, expected the number in its norms; extract again")
        return eps


class AttentionInputs(NamedTuple):
    """Queries folded to the `tokens` that they look at, `num_heads` for each; tokens are the last of the layer."""

    tokens: Float[Tensor, "row token width"]
    folded: Float[Tensor, "adapter folded width"]
    num_heads: int


class Adapter(nn.Module):
    """A stack of adapters of one family and configuration; subclasses say what they read, draw and compute."""

    Config: ClassVar[type[Frozen]]
    reads: ClassVar[frozenset[Reads]]
    untrained: ClassVar[tuple[str, ...]] = ()  # drawn tensors that no gradient moves: statistics, masks
    closed_form: ClassVar[bool] = False  # solved from all rows at once, in one epoch, and trained by no gradient
    reads_layer_sum: ClassVar[bool] = False  # of its layers it needs the sum alone
    before: ClassVar[Mapping[str, JsonValue]] = {}  # fields that earlier versions did not record, and what they did
    noise: Noise | None = None  # of the training step that is under way; None outside of training

    def __init__(self, config: Frozen, scope: Scope, tensors: dict[str, Tensor]) -> None:
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
        """Return what a grid has where nobody asks for more, given the shape of the deepest layer."""
        return {"lr": (1e-3, 3e-3), "weight_decay": (0.01, 0.3)}

    @classmethod
    def layer_groups(cls, config: Frozen, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Say which layers are read together; one layer each, unless a family needs several aligned."""
        return [(layer,) for layer in layers]

    @classmethod
    def frozen_prefixes(cls, layers: tuple[int, ...]) -> tuple[str, ...]:
        """Return prefixes of the frozen tensors that it needs at some layers, in training and in a bundle."""
        return ()

    @classmethod
    def phases(cls, config: Frozen) -> tuple[float, ...]:
        """Part its epochs into phases, by shares that sum to one; each has its own learning-rate schedule."""
        return (1.0,)

    @classmethod
    def phase_rates(cls, config: Frozen) -> tuple[float, ...]:
        """Return the share of its learning rate that each phase begins with."""
        return (1.0,) * len(cls.phases(config))

    @classmethod
    def recorded(cls, config: Mapping[str, JsonValue]) -> Frozen:
        """Return a configuration that a RUN or a bundle recorded, maybe in an earlier version: as it was then."""
        return cls.Config.model_validate({**cls.before, **config})

    @classmethod
    def resolve(cls, config: Frozen, scope: Scope) -> Frozen:
        """Replace what was left open in a configuration by what it means here."""
        return config

    @classmethod
    def incompatibility(cls, config: Frozen, scope: Scope) -> str | None:
        """Say why this cannot be trained here, and what to do; None if it can. Called before anything is read."""
        return None

    @classmethod
    def init_parameters(cls, config: Frozen, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the initial parameters of one adapter, without the `adapter` axis."""
        raise NotImplementedError

    @classmethod
    def build(cls, config: Frozen, scope: Scope, seeds: Sequence[int]) -> "Adapter":
        """Make a stack with one adapter a seed."""
        drawn = [cls.init_parameters(config, scope, torch.Generator().manual_seed(seed)) for seed in seeds]
        return cls(config, scope, {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]})

    def tensors(self) -> dict[str, Tensor]:
        """Return all that makes the adapters what they are, trained or not."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

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
        return type(self)(self.config, self.scope, {name: t[list(keep)] for name, t in self.tensors().items()})

    def queries(self) -> dict[int, Float[Tensor, "adapter folded width"]]:
        """Return the folded queries for each layer's normalised tokens; a family that does not attend has none."""
        return {}

    def attention_inputs(self, seen: TokenBatch) -> AttentionInputs | None:
        """Return what its own queries look at, and how; None for a family that has no such queries."""
        return None

    def enter(self, phase: int, index: int, generator: torch.Generator) -> None:
        """Make one adapter of the stack ready for a phase after the first; its optimiser starts anew."""

    def kept_by_layer(self) -> dict[int, Float[Tensor, " adapter"]]:
        """Return which share of each layer's features every adapter kept; empty for a family that keeps them all."""
        return {}

    def penalty(self) -> Float[Tensor, " adapter"] | None:
        """Return what is added to each adapter's loss in training; None adds nothing."""
        return None

    def regressors(self, seen: TokenBatch) -> Float[Tensor, "row feature"]:
        """Return what a family in closed form needs of a batch."""
        raise NotImplementedError

    def solve(
        self,
        regressors: Float[Tensor, "row feature"],
        labels: Labels,
        groups: Int64[Tensor, " row"],
        target: Target,
    ) -> float:
        """Set the parameters of a stack of one from all rows; return its loss on rows that it had not seen.

        Rows of one group are not to be judged by each other. NaN where there is no solution.
        """
        raise NotImplementedError

    def drop(
        self, values: Float[Tensor, "adapter *shape"], rate: float | None = None
    ) -> Float[Tensor, "adapter *shape"]:
        """Drop out, in training only: the recipe's share, or `rate`."""
        return values if self.noise is None else self.noise.drop(values, rate)

    def forward(self, seen: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Return the outputs of every adapter for a batch; `seen.pooled` answers `queries`."""
        raise NotImplementedError


def make_scope(store: Store, layers: tuple[int, ...], family: type[Adapter]) -> Scope:
    """Return what a family may know of a store."""
    return Scope(
        layers=layers,
        specs={layer: store.spec.layers[layer] for layer in layers},
        num_outputs=len(store.classes),
        backbone=store.frozen_parts(family.frozen_prefixes(layers)),
        tokens=store.identity.tokens,
    )
