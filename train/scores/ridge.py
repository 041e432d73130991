"""Ridge regression to one-hot labels, judged on rows that it has not seen, without a single refit.

    H = 1/N + U diag(s^2 / (s^2 + penalty)) U^T,    r_g = (I - H_gg)^-1 (Y_g - (H Y)_g)

H is the hat matrix of a regression with a free bias, F = U diag(s) V^T the centred vectors, r_g the residuals of group
g under the regression without it: exact, for a row alone (Allen 1974) as for a group. The nearest of these scores to a
linear probe. Inferred: the grid, and that the penalty is the one of least squared error while the score is accuracy.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..features import Features

PENALTIES = tuple(10 ** (power / 2) for power in range(-8, 7))  # times the mean of s^2, so that scale does not matter


def ridge(features: Features) -> float:
    """Return the leave-one-group-out accuracy at the penalty of least leave-one-group-out squared error."""
    predicted = min(
        (held_out(features, penalty) for penalty in PENALTIES),
        key=lambda outputs: float((outputs - features.targets).square().sum()),
    )
    return float((predicted.argmax(1) == features.labels).double().mean())


def held_out(features: Features, penalty: float) -> Float[Tensor, "row classes"]:
    """Return what each row is predicted to be by the regression on all other groups."""
    (left, singular), targets = features.factors, features.targets
    variance = singular.square()
    shrunk = left * (variance / (variance + penalty * variance.mean()))  # row, rank
    residuals = features.centred_targets - shrunk @ (left.T @ targets)
    found = torch.empty_like(targets)
    for rows in _of_one_size(features.groups):
        hat = shrunk[rows] @ left[rows].mT + 1 / len(targets)  # group, row, row
        identity = torch.eye(rows.shape[1], dtype=hat.dtype)
        found[rows] = targets[rows] - torch.linalg.solve(identity - hat, residuals[rows])
    return found


def _of_one_size(groups: Int64[Tensor, " row"]) -> Iterator[Int64[Tensor, "group row"]]:
    """Yield the rows of all groups of one size, for every size that there is."""
    _, numbers, sizes = groups.unique(return_inverse=True, return_counts=True)
    size_of = sizes[numbers]
    for size in sizes.unique():
        rows = (size_of == size).nonzero()[:, 0]
        yield rows[numbers[rows].argsort(stable=True)].view(-1, int(size))
