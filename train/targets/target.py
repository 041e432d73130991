"""The contract of a target: the labels of a data set, the training loss, the predictions and their metrics.

Each target is one file of `icecore.train.targets`.
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
Labels = Shaped[Tensor, "row *outputs"]  # one class per row, or one number per row and output
Rows = Int64[np.ndarray, " row"]
CACHED = 1 << 17  # scalars of one block, so that intermediate results stay in a core's cache


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
        """Return the loss weights of the adapters at the indices `keep`."""
        return LossWeights(*[None if one is None else one[list(keep)] for one in (self.smoothing, self.weights)])


class Target(Frozen):
    """One kind of label: its loss, predictions and metrics; the fields are values fitted to the train labels."""

    score_name: ClassVar[str]
    loss_name: ClassVar[str]
    is_brief: ClassVar[bool] = (
        False  # whether loss_terms and verdicts hold one number per row, for any number of outputs
    )

    def fitted(self, labels: Labels) -> "Target":
        """Return the target with its fields fitted to the train labels."""
        return self

    @abstractmethod
    def labels(self, store: Store, rows: Rows) -> Labels:
        """Return the labels of `rows` in the data set's unit; `known` returns which rows have a label."""

    def truth(self, store: Store, rows: Rows) -> Labels:
        """Return the labels of `rows` in the unit of the predictions, for training and metrics."""
        return self.standardised(self.labels(store, rows))

    def standardised(self, values: Labels) -> Labels:
        """Convert labels or predictions from the data set's unit to the unit of stored predictions."""
        return values

    def in_data_unit(self, predictions: Float[Tensor, "*axes outputs"]) -> Float[Tensor, "*axes outputs"]:
        """Convert stored predictions to the data set's unit, in which users read them."""
        return predictions

    @abstractmethod
    def known(self, labels: Labels) -> Bool[Tensor, " row"]:
        """Return a mask of the rows that have a label."""

    @abstractmethod
    def strata(self, labels: Labels) -> Int64[np.ndarray, " row"]:
        """Return the stratum of each row; a hold-out takes the same share of every stratum."""

    @abstractmethod
    def balance(self, labels: Labels, num_outputs: int) -> Float[Tensor, " outputs"]:
        """Return the weight of every output that balances classes; UsageError if the target has no classes."""

    @abstractmethod
    def losses(self, outputs: Outputs, labels: Labels, loss_weights: LossWeights) -> Float[Tensor, " adapter"]:
        """Return the mean loss of each adapter."""

    @abstractmethod
    def regression_targets(self, labels: Labels, num_outputs: int) -> Float[Tensor, "row outputs"]:
        """Return the numbers that least squares regresses on."""

    @abstractmethod
    def predictions(self, outputs: Outputs) -> Outputs:
        """Return the predictions to store: probabilities, or standardised numbers (`in_data_unit` converts them)."""

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
        """Return the per-row values that determine the score; the predictions, unless fewer values suffice."""
        return predictions

    def scores(self, verdicts: Shaped[Tensor, "adapter row value"], labels: Labels) -> Float[Tensor, " adapter"]:
        """Return the score of each adapter, equal to that of `score`."""
        return torch.tensor([self.score(one.to(wide(one.dtype)), labels).score for one in verdicts]).double()

    def losses_with(
        self,
        total: Float[Tensor, "row value"],
        loss_terms: Float[Tensor, "adapter row value"],
        num_added: int,
        counts: Float[Tensor, " row"],
    ) -> Float[Tensor, " adapter"]:
        """Return, for each adapter, the mean loss of the mixture `(total + loss_terms[adapter]) / num_added`.

        Row i has the weight counts[i]. Adapters with equal loss_terms have equal losses, to the last bit.
        """
        some = max(1, CACHED // max(1, total.numel()))
        sums = [(self.row_losses((total + one) / num_added) * counts).sum(1) for one in loss_terms.split(some)]
        return torch.cat(sums).double() / counts.sum()

    @abstractmethod
    def metrics(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> dict[str, float]:
        """Return every metric by name; NaN if there are no rows."""


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
    """Return the loss weights of a stack; `weights` are the output weights of its balanced adapters."""
    smooth = torch.tensor(list(smoothing), device=device) if any(smoothing) else None
    if weights is None or not any(balanced):
        return LossWeights(smooth)
    even = torch.ones_like(weights)
    return LossWeights(smooth, torch.stack([weights if one else even for one in balanced]).to(device))
