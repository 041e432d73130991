"""The validation predictions that a run kept, and the truth: all that a choice may know."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .candidate import Candidate
from .target import Labels, Target


@dataclass(frozen=True)
class Kept:
    """Predictions of every finished adapter for the same rows; rows of one group are no independent witnesses."""

    candidates: tuple[Candidate, ...]
    num_parameters: tuple[int, ...]
    rows: Int64[Tensor, " row"]
    labels: Labels
    predictions: Float[Tensor, "adapter row classes"]
    target: Target
    groups: Int64[Tensor, " row"] | None = None

    @property
    def blocks(self) -> Int64[Tensor, " row"]:
        """Say which rows stay together when rows are drawn or parted: those of a group, or each alone."""
        return self.rows if self.groups is None else self.groups

    @cached_property
    def evidence(self) -> Float[Tensor, "adapter row value"]:
        """What the loss of a mixture depends on: the mixture of this."""
        return self.target.evidence(self.predictions, self.labels)

    def row_losses(self) -> Float[Tensor, "adapter row"]:
        """Return the loss of every adapter at every row."""
        return self.target.row_losses(self.evidence.double())

    def loss(self, mixture: Float[Tensor, "*mix row value"]) -> Float[Tensor, "*mix"]:
        """Return the mean loss of some mixtures of evidence."""
        return self.target.row_losses(mixture).double().mean(-1)

    def at(self, places: Int64[Tensor, " place"]) -> "Kept":
        """Return what was kept of some rows, by place; a place may come twice."""
        groups = None if self.groups is None else self.groups[places]
        rows, labels, predictions = self.rows[places], self.labels[places], self.predictions[:, places]
        return replace(self, rows=rows, labels=labels, predictions=predictions, groups=groups)

    def among(self, places: Sequence[int]) -> "Kept":
        """Return what was kept of some adapters, by place, in that order."""
        return replace(
            self,
            candidates=tuple(self.candidates[place] for place in places),
            num_parameters=tuple(self.num_parameters[place] for place in places),
            predictions=self.predictions[list(places)],
        )

    def mix(self, weights: dict[str, float]) -> Float[Tensor, "row classes"]:
        """Return the weighted mean of some adapters' predictions."""
        shares = torch.tensor([weights.get(one.adapter_id, 0.0) for one in self.candidates])
        return torch.einsum("a,arc->rc", shares, self.predictions)
