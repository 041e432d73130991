"""The validation predictions that a run kept, and the truth: all that a choice may know.

What the losses and scores of adapters depend on is in memory; where that is less than the predictions, whoever mixes
them reads them a block of rows at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from ..targets.target import Labels, Target, wide
from .candidate import Candidate
from .prediction_tables import PredictionTables
from .result import best_first

Places = Int64[Tensor, " _place"]  # of rows; a place may come more than once
Weights = Float64[Tensor, "draw adapter"]  # not negative; those of a draw sum to one


@dataclass(frozen=True)
class ValidationPredictions:
    """Predictions of every finished adapter for the same rows; rows of one group are no independent witnesses.

    `loss_terms` of a mixture are the mixture of the adapters' `loss_terms`; `verdicts` decide the score.
    """

    candidates: tuple[Candidate, ...]
    num_parameters: tuple[int, ...]
    rows: Int64[Tensor, " row"]
    labels: Labels
    target: Target
    tables: PredictionTables
    loss_terms: Float[Tensor, "adapter row value"]
    verdicts: Shaped[Tensor, "adapter row verdict"]
    groups: Int64[Tensor, " row"] | None = None

    @property
    def blocks(self) -> Int64[Tensor, " row"]:
        """Say which rows stay together when rows are drawn or parted: those of a group, or each alone."""
        return self.rows if self.groups is None else self.groups

    @property
    def every_row(self) -> Places:
        """The places of all rows: the draw that a choice is made from in the end."""
        return torch.arange(len(self.rows))

    @cached_property
    def row_losses(self) -> Float64[Tensor, "adapter row"]:
        """The loss of every adapter at every row."""
        return self.target.row_losses(self.loss_terms.double())

    @cached_property
    def scores(self) -> Float64[Tensor, " adapter"]:
        """The score of every adapter over all rows."""
        return self.target.scores(self.verdicts, self.labels)

    @cached_property
    def ranks(self) -> list[tuple[float, float]]:
        """The sort key of every adapter: the highest score first, of equal scores the lowest mean loss."""
        losses = self.row_losses.mean(1).tolist()
        return [best_first(score, loss) for score, loss in zip(self.scores.tolist(), losses, strict=True)]

    def subset(self, places: Sequence[int]) -> "ValidationPredictions":
        """Return what was kept of some adapters, by place, in that order."""
        return replace(
            self,
            candidates=tuple(self.candidates[place] for place in places),
            num_parameters=tuple(self.num_parameters[place] for place in places),
            tables=self.tables.subset(places),
            loss_terms=self.loss_terms[list(places)],
            verdicts=self.verdicts[list(places)],
        )

    def weights(self, chosen: Sequence[Mapping[str, float]]) -> Weights:
        """Return the weights of some choices, given by adapter_id, as a table."""
        rows = [[one.get(of.adapter_id, 0.0) for of in self.candidates] for one in chosen]
        return torch.tensor(rows, dtype=torch.float64)

    def losses_of(self, weights: Weights) -> Float64[Tensor, "draw row"]:
        """Return the loss of some mixtures at every row."""
        flat = weights.to(self.loss_terms) @ self.loss_terms.flatten(1)
        return self.target.row_losses(flat.double().unflatten(1, self.loss_terms.shape[1:]))

    def verdicts_of(self, weights: Weights, places: Sequence[Places]) -> list[Shaped[Tensor, "_place verdict"]]:
        """Return what the score of each mixture at its own rows, which ascend, depends on; read once for all."""
        alone = (weights > 0).sum(1) == 1
        mixed = iter(self._mixed(weights[~alone], [own for own, one in zip(places, alone, strict=True) if not one]))
        single = weights.argmax(1)
        each = zip(alone, single, places, strict=True)
        return [self.verdicts[place, own] if one else next(mixed) for one, place, own in each]

    def _mixed(self, weights: Weights, places: Sequence[Places]) -> list[Shaped[Tensor, "_place verdict"]]:
        members = (weights > 0).any(0).nonzero()[:, 0].tolist()
        weights = weights[:, members].to(wide(self.tables.dtype))
        found: list[list[Tensor]] = [[] for _ in places]
        for start, stop, tables in self.tables.subset(members).blocks() if members else ():
            mixtures = (weights @ tables.flatten(1)).view(len(weights), stop - start, -1)
            verdicts = self.target.verdicts(mixtures, self.labels[start:stop])
            for mine, own, verdict in zip(found, places, verdicts, strict=True):
                first, last = torch.searchsorted(own, torch.tensor([start, stop])).tolist()
                mine.append(verdict[own[first:last] - start].clone())
        return [torch.cat(mine) for mine in found]
