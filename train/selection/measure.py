"""Predictions measured as one target measures them, each figure with its interval."""

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
    """What the score and the loss of some predictions depend on, for rows that all have a label."""

    verdicts: Shaped[Tensor, "row value"]
    losses: Float64[Tensor, " row"]


@dataclass(frozen=True)
class Measure:
    """How to measure, and how sure to be."""

    target: Target
    settings: SelectSettings

    def figures(self, answers: RowResults, labels: Labels, groups: Int64[Tensor, " row"] | None) -> Figures:
        """Measure answers."""
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
        """Measure predictions for the rows that have a label; None where none has."""
        known = self.target.known(labels)
        if not bool(known.any()):
            return None
        (answers,) = row_results(self.target, table[known][None], labels[known])
        return self.figures(answers, labels[known], None if groups is None else groups[known])


def row_results(target: Target, tables: Float[Tensor, "adapter row output"], labels: Labels) -> list[RowResults]:
    """Return what some tables of predictions say of rows that all have a label."""
    verdicts, losses = target.verdicts(tables, labels), target.row_losses(target.loss_terms(tables, labels).double())
    return [RowResults(*one) for one in zip(verdicts, losses, strict=True)]
