"""Columns brought to mean zero and variance one; those that never vary are left out.

Knows nothing of what the columns are.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CONSTANT = 1e-6  # a column's standard deviation against its size, under which it is rounding and no signal


@dataclass(frozen=True)
class Standard:
    """The mean and the deviation of every column, as fitted to some rows."""

    centre: Float[Tensor, " feature"]
    deviation: Float[Tensor, " feature"]
    varies: Bool[Tensor, " feature"]

    @classmethod
    def of(cls, values: Float[Tensor, "row feature"]) -> "Standard":
        """Fit to some rows."""
        deviation = values.std(0, correction=0)
        return cls(values.mean(0), deviation, deviation > CONSTANT * values.abs().amax(0))

    def __call__(self, values: Float[Tensor, "row feature"]) -> Float[Tensor, "row varying"]:
        """Standardise rows."""
        return (values - self.centre)[:, self.varies] / self.deviation[self.varies]

    def unfolded(self, weights: Float[Tensor, "varying output"]) -> Float[Tensor, "feature output"]:
        """Return weights that do to centred columns what some do to standardised ones."""
        found = torch.zeros(len(self.varies), weights.shape[1], dtype=weights.dtype)
        found[self.varies] = weights / self.deviation[self.varies, None]
        return found
