"""The pooled vectors of one layer with labels and groups, gathered batch by batch: the input of every score.

Only pooled vectors of a layer are kept, never its tokens.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from ..modules.least_squares import Standard


@dataclass(frozen=True)
class Features:
    """The pooled vectors of rows in float64, standardised per column; there may be no column.

    Labels number the classes that occur, from 0. Rows of one group must not predict each other; a row may be a group.
    """

    values: Float[Tensor, "row feature"]
    labels: Int64[Tensor, " row"]
    groups: Int64[Tensor, " row"]

    @cached_property
    def num_classes(self) -> int:
        """The number of classes that occur."""
        return int(self.labels.max()) + 1

    @cached_property
    def targets(self) -> Float[Tensor, "row classes"]:
        """One-hot labels."""
        return one_hot(self.labels, self.num_classes).double()

    @cached_property
    def centred_targets(self) -> Float[Tensor, "row classes"]:
        """One-hot labels without their mean."""
        return self.targets - self.targets.mean(0)

    @cached_property
    def between(self) -> Float[Tensor, "row feature"]:
        """The mean vector of each row's class."""
        return (self.targets.T @ self.values / self.targets.sum(0)[:, None])[self.labels]

    @cached_property
    def factors(self) -> tuple[Float[Tensor, "row rank"], Float[Tensor, " rank"]]:
        """Left singular vectors and singular values of `values`, largest first."""
        left, singular, _ = torch.linalg.svd(self.values, full_matrices=False)
        return left, singular

    def leading(self, num_components: int) -> Float[Tensor, "row component"]:
        """Return the principal components of largest variance."""
        left, singular = self.factors
        return (left * singular)[:, :num_components]


class FeatureFitter:
    """Gathers batches of rows, of any size, into `Features`."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def update(
        self, features: Float[Tensor, "row feature"], labels: Int64[Tensor, " row"], groups: Int64[Tensor, " row"]
    ) -> None:
        """Add a batch."""
        self._batches.append((features, labels, groups))

    def fit(self) -> Features:
        """Return what was gathered, standardised: mean zero and variance one; columns that never vary are left out."""
        features, labels, groups = (torch.cat(parts) for parts in zip(*self._batches, strict=True))
        values = features.double()
        return Features(Standard.of(values)(values), labels.unique(return_inverse=True)[1], groups)
