"""Abilities that few adapter families have: a closed form, training in phases, selected features, attention to show.

A family has an ability if it inherits from the class of that name; callers ask with `isinstance` or `issubclass`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from icecore.store import Frozen

from ..targets.target import Labels, Target
from ..tokens.batch import TokenBatch
from .adapter import Adapter, ConfigT


class ClosedForm(Adapter[ConfigT]):
    """A family that is solved from all rows at once, in one epoch, instead of trained by gradients."""

    def regressors(self, batch: TokenBatch) -> Float[Tensor, "row feature"]:
        """Return the part of a batch that `solve` needs."""
        raise NotImplementedError

    def solve(
        self,
        regressors: Float[Tensor, "row feature"],
        labels: Labels,
        groups: Int64[Tensor, " row"],
        target: Target,
    ) -> float:
        """Set the parameters of a stack of one from all rows; return the loss on left-out rows.

        Rows with the same number in `groups` are left out together. The loss is NaN where there is no solution.
        """
        raise NotImplementedError


class Phased(Adapter[ConfigT]):
    """A family that trains in phases, each with a learning-rate schedule and an optimiser state of its own."""

    @classmethod
    def phases(cls, config: ConfigT) -> tuple[float, ...]:
        """Return the share of the epochs that each phase takes; the shares sum to one."""
        raise NotImplementedError

    @classmethod
    def phase_rates(cls, config: ConfigT) -> tuple[float, ...]:
        """Return the factor on the learning rate in each phase."""
        return (1.0,) * len(cls.phases(config))

    def enter(self, phase: int, index: int, generator: torch.Generator) -> None:
        """Prepare the adapter at `index` for a phase, counted from 0, after the first."""
        raise NotImplementedError


class SelectsFeatures(Phased[ConfigT]):
    """A family that keeps a share of the features, chosen in its first phases."""

    def kept_by_layer(self) -> dict[int, Float[Tensor, " adapter"]]:
        """Return by layer the share of the layer's features that each adapter kept; empty if all were kept."""
        raise NotImplementedError


class AttentionInputs(NamedTuple):
    """Folded queries, `num_heads` for each query, and the tokens that they attend to: the last tokens of the layer."""

    tokens: Float[Tensor, "row token width"]
    folded: Float[Tensor, "adapter folded width"]
    num_heads: int


class ShowsAttention(Adapter[ConfigT]):
    """A family whose learned queries attend to tokens, so that the attention can be drawn."""

    def attention_inputs(self, batch: TokenBatch) -> AttentionInputs | None:
        """Return the queries and tokens of the attention; None for a configuration that cannot show it."""
        raise NotImplementedError


def phases_of(family: type[Adapter], config: Frozen) -> tuple[float, ...]:
    """Return the share of the epochs that each phase of a family takes; a single phase by default."""
    return family.phases(config) if issubclass(family, Phased) else (1.0,)


def phase_rates_of(family: type[Adapter], config: Frozen) -> tuple[float, ...]:
    """Return the factor on the learning rate in each phase of a family."""
    return family.phase_rates(config) if issubclass(family, Phased) else (1.0,)
