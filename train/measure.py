"""Predictions measured as one target measures them, each figure with its interval."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .bootstrap import interval
from .selection import Figures
from .settings import SelectSettings
from .target import Labels, Target


@dataclass(frozen=True)
class Measure:
    """How to measure, and how sure to be."""

    target: Target
    settings: SelectSettings

    def figures(
        self, table: Float[Tensor, "row classes"], labels: Labels, groups: Int64[Tensor, " row"] | None
    ) -> Figures:
        """Measure predictions for rows that all have a label."""
        blocks = torch.arange(len(labels)) if groups is None else groups
        again = lambda rows: self.target.score(table[rows], labels[rows]).score  # noqa: E731
        one = self.settings
        low, high = interval(again, blocks, one.confidence, one.num_resamples, one.seed)
        num_groups, scores = None if groups is None else len(groups.unique()), self.target.score(table, labels)
        return Figures(
            score=scores.score, loss=scores.loss, low=low, high=high, num_rows=len(labels), num_groups=num_groups
        )

    def known(
        self, table: Float[Tensor, "row classes"], labels: Labels, groups: Int64[Tensor, " row"] | None
    ) -> Figures | None:
        """Measure predictions for the rows that have a label; None where none has."""
        known = self.target.known(labels)
        if not bool(known.any()):
            return None
        return self.figures(table[known], labels[known], None if groups is None else groups[known])
