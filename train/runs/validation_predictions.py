"""The validation predictions of a run, and the labels: the only evidence that a choice may use.

Loss terms and verdicts of all adapters are in memory. The predictions themselves may be larger than memory: mixing them
reads `tables` a block of rows at a time.
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

Places = Int64[Tensor, " _place"]  # indices of validation rows, from 0; a bootstrap draw repeats some
Weights = Float64[Tensor, "draw adapter"]  # not negative; the weights of a draw sum to one


@dataclass(frozen=True)
class ValidationPredictions:
    """Predictions of every finished adapter for the same validation rows.

    `loss_terms` are linear in the predictions: those of a mixture are the same mixture of the adapters' `loss_terms`.
    `verdicts` hold what the score depends on, such as right or wrong. `groups` numbers the group of each row; rows of
    one group are not independent. `rows` are row numbers of the store.
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
        """The block number of each row: rows of a block, which is a group or a single row, are resampled together."""
        return self.rows if self.groups is None else self.groups

    @property
    def every_row(self) -> Places:
        """The draw that has every row once, from which the final choice is made."""
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
        """Return the predictions of the adapters at some indices, in that order."""
        return replace(
            self,
            candidates=tuple(self.candidates[place] for place in places),
            num_parameters=tuple(self.num_parameters[place] for place in places),
            tables=self.tables.subset(places),
            loss_terms=self.loss_terms[list(places)],
            verdicts=self.verdicts[list(places)],
        )

    def weights(self, chosen: Sequence[Mapping[str, float]]) -> Weights:
        """Return choices, each a weight by adapter_id, as rows of one table; an adapter not in a choice weighs 0."""
        rows = [[one.get(of.adapter_id, 0.0) for of in self.candidates] for one in chosen]
        return torch.tensor(rows, dtype=torch.float64)

    def losses_of(self, weights: Weights) -> Float64[Tensor, "draw row"]:
        """Return the loss of every mixture at every row."""
        flat = weights.to(self.loss_terms) @ self.loss_terms.flatten(1)
        return self.target.row_losses(flat.double().unflatten(1, self.loss_terms.shape[1:]))

    def verdicts_of(self, weights: Weights, places: Sequence[Places]) -> list[Shaped[Tensor, "_place verdict"]]:
        """Return the verdicts of each mixture for its own rows, ascending; tables are read once for all mixtures."""
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
