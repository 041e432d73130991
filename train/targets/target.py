"""What adapters are trained towards and measured by; the contract of a target.

Knows outputs and labels, nothing of adapters. One file each in `icecore.train.targets`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from icecore.store import Frozen, Store

Outputs = Float[Tensor, "adapter row outputs"]
Labels = Shaped[Tensor, "row *outputs"]  # one class a row, or a number an output
Rows = Int64[np.ndarray, " row"]
CACHED = 1 << 17  # numbers: of so few, what is made of them stays in a core's cache


class Scores(NamedTuple):
    """A score, where higher is better, and a loss, where lower is better."""

    score: float
    loss: float


@dataclass(frozen=True)
class LossWeights:
    """Label smoothing of every adapter, and loss weights of every output; None where a stack uses neither."""

    smoothing: Float[Tensor, " adapter"] | None = None
    weights: Float[Tensor, "adapter outputs"] | None = None

    def subset(self, keep: Sequence[int]) -> "LossWeights":
        """Return the weights of the adapters at some indices."""
        return LossWeights(*[None if one is None else one[list(keep)] for one in (self.smoothing, self.weights)])


class Target(Frozen):
    """One kind of label: its loss, its predictions, how they are measured; fields are what it learnt of labels."""

    score_name: ClassVar[str]
    loss_name: ClassVar[str]
    is_brief: ClassVar[bool] = (
        False  # whether loss_terms and verdicts are a number a row each, however many the outputs
    )

    def fitted(self, labels: Labels) -> "Target":
        """Return the target that knows what it needs of the labels to train on."""
        return self

    @abstractmethod
    def labels(self, store: Store, rows: Rows) -> Labels:
        """Return the labels of some rows as the data set has them; `known` tells which are there."""

    def truth(self, store: Store, rows: Rows) -> Labels:
        """Return the labels of some rows as predictions are measured by: numbers in the unit of the predictions."""
        return self.standardised(self.labels(store, rows))

    def standardised(self, values: Labels) -> Labels:
        """Return labels, or predictions in the data set's unit, in the unit that predictions are kept in."""
        return values

    def in_data_unit(self, predictions: Float[Tensor, "*axes outputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return kept predictions in the data set's unit: what a user is told."""
        return predictions

    @abstractmethod
    def known(self, labels: Labels) -> Bool[Tensor, " row"]:
        """Return a mask of the rows that have a label."""

    @abstractmethod
    def strata(self, labels: Labels) -> Int64[np.ndarray, " row"]:
        """Return the stratum of each row; a hold-out takes the same share of every stratum."""

    @abstractmethod
    def balance(self, labels: Labels, num_outputs: int) -> Float[Tensor, " outputs"]:
        """Return the weight of every output under which each counts the same; UsageError where that means nothing."""

    @abstractmethod
    def losses(self, outputs: Outputs, labels: Labels, loss_weights: LossWeights) -> Float[Tensor, " adapter"]:
        """Return the mean loss of each adapter."""

    @abstractmethod
    def regression_targets(self, labels: Labels, num_outputs: int) -> Float[Tensor, "row outputs"]:
        """Return the numbers that least squares regresses on."""

    @abstractmethod
    def predictions(self, outputs: Outputs) -> Outputs:
        """Return what is kept of outputs: probabilities, or numbers in units of deviation (`in_data_unit`)."""

    @abstractmethod
    def score(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> Scores:
        """Return score and loss of predictions for labelled rows."""

    @abstractmethod
    def loss_terms(
        self, predictions: Float[Tensor, "adapter row outputs"], labels: Labels
    ) -> Float[Tensor, "adapter row value"]:
        """Return per-row loss terms that are linear in the predictions: `terms(sum w p) == sum w terms(p)`."""

    @abstractmethod
    def row_losses(self, loss_terms: Float[Tensor, "*mix row value"]) -> Float[Tensor, "*mix row"]:
        """Return the loss of each row; the mean over rows is the loss of `score`."""

    def verdicts(
        self, predictions: Float[Tensor, "adapter row outputs"], labels: Labels
    ) -> Shaped[Tensor, "adapter row value"]:
        """Return all that the score of known rows depends on: the predictions, where it is no less."""
        return predictions

    def scores(self, verdicts: Shaped[Tensor, "adapter row value"], labels: Labels) -> Float[Tensor, " adapter"]:
        """Return the score of each adapter, as `score` does."""
        return torch.tensor([self.score(one.to(wide(one.dtype)), labels).score for one in verdicts]).double()

    def losses_with(
        self,
        total: Float[Tensor, "row value"],
        loss_terms: Float[Tensor, "adapter row value"],
        num_added: int,
        counts: Float[Tensor, " row"],
    ) -> Float[Tensor, " adapter"]:
        """Return the mean loss that each adapter makes of the sum of some loss_terms: of the mean, its own included.

        A row counts as often as `counts` says; adapters of equal loss_terms have equal losses, to the last bit.
        """
        some = max(1, CACHED // max(1, total.numel()))
        sums = [(self.row_losses((total + one) / num_added) * counts).sum(1) for one in loss_terms.split(some)]
        return torch.cat(sums).double() / counts.sum()

    @abstractmethod
    def metrics(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> dict[str, float]:
        """Return every figure by name; NaN where there is no row."""


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which to compute with values of a stored type: float32, or float64 for float64.

    >>> wide(torch.float16)
    torch.float32
    """
    return torch.promote_types(dtype, torch.float32)


def loss_weights_of(
    smoothing: Sequence[float],
    balanced: Sequence[bool],
    weights: Float[Tensor, " outputs"] | None,
    device: torch.device,
) -> LossWeights:
    """Return what the adapters of a stack ask for, where any does; `weights` are those of the balanced ones."""
    smooth = torch.tensor(list(smoothing), device=device) if any(smoothing) else None
    if weights is None or not any(balanced):
        return LossWeights(smooth)
    even = torch.ones_like(weights)
    return LossWeights(smooth, torch.stack([weights if one else even for one in balanced]).to(device))
