"""Measure predictions: the target's score and loss, with a bootstrap interval of the score."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from ..settings import SelectSettings
from ..splits.resample import interval
from ..targets.target import Labels, Target
from .selection import Figures


@dataclass(frozen=True)
class RowResults:
    """The verdicts, from which a target computes its score, and the losses of labelled rows."""

    verdicts: Shaped[Tensor, "row value"]
    losses: Float64[Tensor, " row"]


@dataclass(frozen=True)
class Measure:
    """The target that measures predictions, and the settings of the bootstrap interval."""

    target: Target
    settings: SelectSettings

    def figures(self, answers: RowResults, labels: Labels, groups: Int64[Tensor, " row"] | None) -> Figures:
        """Return the score, its interval and the loss of labelled rows; the bootstrap resamples whole groups."""
        blocks = torch.arange(len(labels)) if groups is None else groups
        again = lambda rows: float(self.target.scores(answers.verdicts[None, rows], labels[rows]))  # noqa: E731
        one = self.settings
        low, high = interval(again, blocks, one.confidence, one.num_resamples, one.seed)
        return Figures(
            score=float(self.target.scores(answers.verdicts[None], labels)),
            loss=float(answers.losses.mean()),
            low=low,
            high=high,
            num_rows=len(labels),
            num_groups=None if groups is None else len(groups.unique()),
        )

    def known(
        self, table: Float[Tensor, "row classes"], labels: Labels, groups: Int64[Tensor, " row"] | None
    ) -> Figures | None:
        """Return the figures of predictions over the labelled rows; None if no row has a label."""
        known = self.target.known(labels)
        if not bool(known.any()):
            return None
        (answers,) = row_results(self.target, table[known][None], labels[known])
        return self.figures(answers, labels[known], None if groups is None else groups[known])


def row_results(target: Target, tables: Float[Tensor, "adapter row output"], labels: Labels) -> list[RowResults]:
    """Return the row results of every table of predictions; all rows must have a label."""
    verdicts, losses = target.verdicts(tables, labels), target.row_losses(target.loss_terms(tables, labels).double())
    return [RowResults(*one) for one in zip(verdicts, losses, strict=True)]
