"""Ridge regression with a free bias, and its predictions for left-out rows, without a refit.

    H = 1/N + U diag(s^2 / (s^2 + penalty)) U^T,    r_g = (I - H_gg)^-1 (Y_g - (H Y)_g)

H is the hat matrix for centred regressors F = U diag(s) V^T, r_g the residuals of group g under the regression without
it: exact, for a single row (Allen 1974) as for a group. Inferred: the grid of penalties, which are multiples of the
mean of s^2, so that scale does not matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

PENALTIES = tuple(10 ** (power / 2) for power in range(-8, 7))


@dataclass(frozen=True)
class LeastSquares:
    """The regression of `regression_targets` on rows given by left singular vectors and singular values."""

    left: Float[Tensor, "row rank"]
    singular: Float[Tensor, " rank"]
    regression_targets: Float[Tensor, "row output"]
    groups: Int64[Tensor, " row"]

    @cached_property
    def _centred(self) -> Float[Tensor, "row output"]:
        return self.regression_targets - self.regression_targets.mean(0)

    @cached_property
    def penalty(self) -> float:
        """The penalty of the grid with the least leave-one-group-out squared error."""
        return min(
            PENALTIES, key=lambda penalty: float((self.held_out(penalty) - self.regression_targets).square().sum())
        )

    def held_out(self, penalty: float) -> Float[Tensor, "row output"]:
        """Return the prediction for each row by the regression on all other groups."""
        shrunk = self.left * (self.singular.square() / self._grown(penalty))  # row, rank
        residuals = self._centred - shrunk @ (self.left.T @ self._centred)
        predicted = torch.empty_like(self.regression_targets)
        for rows in _of_one_size(self.groups):
            hat = shrunk[rows] @ self.left[rows].mT + 1 / len(self.regression_targets)  # group, row, row
            identity = torch.eye(rows.shape[1], dtype=hat.dtype)
            predicted[rows] = self.regression_targets[rows] - torch.linalg.solve(identity - hat, residuals[rows])
        return predicted

    def weights(self, values: Float[Tensor, "row feature"], penalty: float) -> Float[Tensor, "feature output"]:
        """Return the weights on the centred regressors, fitted to all rows; the bias is the mean of the targets."""
        return values.T @ ((self.left / self._grown(penalty)) @ (self.left.T @ self._centred))

    def _grown(self, penalty: float) -> Float[Tensor, " rank"]:
        return self.singular.square() + penalty * self.singular.square().mean()


def _of_one_size(groups: Int64[Tensor, " row"]) -> Iterator[Int64[Tensor, "group row"]]:
    """Yield, for each group size, the rows of all groups of that size."""
    _, numbers, sizes = groups.unique(return_inverse=True, return_counts=True)
    size_of = sizes[numbers]
    for size in sizes.unique():
        rows = (size_of == size).nonzero()[:, 0]
        yield rows[numbers[rows].argsort(stable=True)].view(-1, int(size))


CONSTANT = 1e-6  # a smaller standard deviation, relative to the largest value of a column, is rounding


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of every column, fitted to some rows; constant columns are dropped."""

    centre: Float[Tensor, " feature"]
    deviation: Float[Tensor, " feature"]
    varies: Bool[Tensor, " feature"]

    @classmethod
    def of(cls, values: Float[Tensor, "row feature"]) -> "Standard":
        """Fit mean and deviation to some rows."""
        deviation = values.std(0, correction=0)
        return cls(values.mean(0), deviation, deviation > CONSTANT * values.abs().amax(0))

    def __call__(self, values: Float[Tensor, "row feature"]) -> Float[Tensor, "row varying"]:
        """Return standardised rows without the constant columns."""
        return (values - self.centre)[:, self.varies] / self.deviation[self.varies]

    def unfolded(self, weights: Float[Tensor, "varying output"]) -> Float[Tensor, "feature output"]:
        """Return the weights on centred columns that equal `weights` on standardised columns."""
        unfolded = torch.zeros(len(self.varies), weights.shape[1], dtype=weights.dtype)
        unfolded[self.varies] = weights / self.deviation[self.varies, None]
        return unfolded
