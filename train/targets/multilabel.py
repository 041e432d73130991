"""Any number of classes per row: binary cross-entropy per class, independent probabilities, mean average precision.

A label may be unknown (NaN). Unknown labels count neither in the loss nor in any metric.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from icecore.store import Store

from .metrics import average_precision, calibration_error
from .target import Labels, LossWeights, Outputs, Rows, Scores, Target

FLOOR = 2.0**-24  # lower bound of a probability: float32 has no number between 1 - FLOOR and 1
NAMES = ("mean_average_precision", "exact", "nll", "ece")


class Multilabel(Target):
    """Labels are 0 or 1 for every class, NaN where unknown; a row whose labels are all NaN is unlabelled."""

    score_name = "mean_average_precision"
    loss_name = "nll"

    def labels(self, store: Store, rows: Rows) -> Float[Tensor, "row outputs"]:
        """Return the labels of every class at each row."""
        return torch.from_numpy(store.targets[rows]).float()

    def known(self, labels: Labels) -> Bool[Tensor, " row"]:
        """Return whether each row has a known label for at least one class."""
        return ~labels.isnan().all(1)

    def strata(self, labels: Labels) -> Int64[np.ndarray, " row"]:
        """Return the rarest class of each row; the number of classes for a row without a class."""
        counts = torch.where(labels > 0, labels.nansum(0), torch.inf)
        return torch.where(counts.isinf().all(1), labels.shape[1], counts.argmin(1)).numpy()

    def balance(self, labels: Labels, num_outputs: int) -> Float[Tensor, " outputs"]:
        """Return the weight of each class's positive rows at which positives and negatives count the same."""
        positive = labels.nanmean(0).nan_to_num(0).clamp(1 / max(1, len(labels)), 1)
        return ((1 - positive) / positive).float()

    def losses(self, outputs: Outputs, labels: Labels, loss_weights: LossWeights) -> Float[Tensor, " adapter"]:
        """Return the mean binary cross-entropy over all known labels; class weights apply to positive labels."""
        known = ~labels.isnan()
        wanted = labels.to(outputs).nan_to_num(0).expand_as(outputs)
        if loss_weights.smoothing is not None:
            share = loss_weights.smoothing[:, None, None]
            wanted = wanted * (1 - share) + share / 2
        positive = None if loss_weights.weights is None else loss_weights.weights[:, None]
        each = binary_cross_entropy_with_logits(outputs, wanted, reduction="none", pos_weight=positive)
        return (each * known).sum((1, 2)) / known.sum().clamp_min(1)

    def regression_targets(self, labels: Labels, num_outputs: int) -> Float[Tensor, "row outputs"]:
        """Return the labels; an unknown label becomes the mean of its class, which is neutral in least squares."""
        return torch.where(labels.isnan(), labels.nanmean(0).nan_to_num(0), labels).float()

    def predictions(self, outputs: Outputs) -> Outputs:
        """Return the probability of every class."""
        return torch.sigmoid(outputs)

    def score(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> Scores:
        """Return the mean average precision over the classes that occur, and the mean over rows of `row_losses`."""
        there, known = (labels > 0).any(0), ~labels.isnan()
        ranked = predictions.where(known, -torch.inf)  # unknown rows rank last, so that no precision counts them
        precision = average_precision(ranked[:, there], labels[:, there] > 0)
        losses = self.row_losses(self.loss_terms(predictions[None], labels).double())
        return Scores(float(precision.mean()), float(losses.mean()))

    def loss_terms(
        self, predictions: Float[Tensor, "adapter row outputs"], labels: Labels
    ) -> Float[Tensor, "adapter row value"]:
        """Return the probability of the label of every class; NaN where the label is unknown."""
        return torch.where(labels.isnan(), torch.nan, torch.where(labels > 0, predictions, 1 - predictions))

    def row_losses(self, loss_terms: Float[Tensor, "*mix row value"]) -> Float[Tensor, "*mix row"]:
        """Return the mean negative log likelihood over the known labels of each row."""
        return -torch.log(loss_terms.clamp_min(FLOOR)).nanmean(-1)

    def metrics(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> dict[str, float]:
        """Return ranking, the share of rows whose known labels are all correct (`exact`), and calibration."""
        if not len(labels):
            return dict.fromkeys(NAMES, math.nan)
        scores, known = self.score(predictions, labels), ~labels.isnan()
        right = (predictions > 0.5) == (labels > 0)
        sure = torch.maximum(predictions, 1 - predictions)
        return {
            "mean_average_precision": scores.score,
            "exact": float((right | ~known).all(1).double().mean()),
            "nll": scores.loss,
            "ece": calibration_error(sure[known], right[known].double()),
        }
