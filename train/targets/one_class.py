"""One class per row: cross-entropy, probabilities that sum to one, accuracy."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, one_hot

from icecore.store import Store

from .metrics import average_precision, calibration_error
from .target import Labels, LossWeights, Outputs, Rows, Scores, Target

FLOOR = 1e-12  # lower bound of a probability, so that one confident mistake does not make a loss infinite
NAMES = ("top1", "top5", "mean_per_class", "mean_average_precision", "nll", "ece")


class OneClass(Target):
    """Labels index the classes; -1 marks a row without a class."""

    score_name = "top1"
    loss_name = "nll"
    is_brief = True

    def labels(self, store: Store, rows: Rows) -> Int64[Tensor, " row"]:
        """Return the index of each row's class."""
        return torch.from_numpy(store.labels[rows])

    def known(self, labels: Labels) -> Bool[Tensor, " row"]:
        """Return whether each row has a class."""
        return labels >= 0

    def strata(self, labels: Labels) -> Int64[np.ndarray, " row"]:
        """Return the classes."""
        return labels.numpy()

    def balance(self, labels: Labels, num_outputs: int) -> Float[Tensor, " outputs"]:
        """Return weights that are inverse to class frequency: rows / (classes * rows of the class)."""
        counts = torch.bincount(labels, minlength=num_outputs).float()
        return len(labels) / (num_outputs * counts.clamp_min(1))

    def losses(self, outputs: Outputs, labels: Labels, loss_weights: LossWeights) -> Float[Tensor, " adapter"]:
        """Return the mean cross-entropy over rows; with class weights, the weighted mean."""
        num_adapters, num_rows, _ = outputs.shape
        if loss_weights.smoothing is None:
            flat = cross_entropy(outputs.flatten(0, 1), labels.repeat(num_adapters), reduction="none")
            each = flat.view(num_adapters, num_rows)
        else:
            logs, share = log_softmax(outputs, -1), loss_weights.smoothing[:, None]
            right = logs.gather(2, labels.expand(num_adapters, -1)[..., None])[..., 0]
            each = -(1 - share) * right - share * logs.mean(-1)
        if loss_weights.weights is None:
            return each.mean(1)
        weights = loss_weights.weights[:, labels]
        return (each * weights).sum(1) / weights.sum(1)

    def regression_targets(self, labels: Labels, num_outputs: int) -> Float[Tensor, "row outputs"]:
        """Return one-hot classes."""
        return one_hot(labels, num_outputs).float()

    def predictions(self, outputs: Outputs) -> Outputs:
        """Return probabilities."""
        return torch.softmax(outputs, -1)

    def score(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> Scores:
        """Return the share of rows whose most probable class is the label, and the mean negative log likelihood."""
        score = self.scores(self.verdicts(predictions[None], labels), labels)
        return Scores(float(score), float(self.row_losses(self.loss_terms(predictions[None], labels).double()).mean()))

    def verdicts(
        self, predictions: Float[Tensor, "adapter row outputs"], labels: Labels
    ) -> Shaped[Tensor, "adapter row value"]:
        """Return 1 where the most probable class is the label, and 0 elsewhere."""
        return (_most_probable(predictions) == labels).to(torch.uint8)[..., None]

    def scores(self, verdicts: Shaped[Tensor, "adapter row value"], labels: Labels) -> Float[Tensor, " adapter"]:
        """Return the share of correct rows, the mean of `verdicts`."""
        return verdicts[..., 0].double().mean(1)

    def loss_terms(
        self, predictions: Float[Tensor, "adapter row outputs"], labels: Labels
    ) -> Float[Tensor, "adapter row value"]:
        """Return the probability of the label."""
        return predictions.gather(2, labels.expand(len(predictions), -1)[..., None])

    def row_losses(self, loss_terms: Float[Tensor, "*mix row value"]) -> Float[Tensor, "*mix row"]:
        """Return the negative log likelihood."""
        return -torch.log(loss_terms[..., 0].clamp_min(FLOOR))

    def metrics(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> dict[str, float]:
        """Return accuracy, ranking and calibration as fractions in [0, 1], and `nll` in nats."""
        if not len(labels):
            return dict.fromkeys(NAMES, math.nan)
        scores, correct = self.score(predictions, labels), (predictions.argmax(1) == labels).double()
        most_probable = predictions.topk(min(5, predictions.shape[1]), dim=1).indices
        counts = torch.bincount(labels)
        there, right = counts.nonzero()[:, 0], torch.bincount(labels, correct)
        return {
            "top1": scores.score,
            "top5": float((most_probable == labels[:, None]).any(1).double().mean()),
            "mean_per_class": float((right[there] / counts[there]).mean()),
            "mean_average_precision": float(average_precision(predictions[:, there], labels[:, None] == there).mean()),
            "nll": scores.loss,
            "ece": calibration_error(predictions.max(1).values, correct),
        }


def _most_probable(predictions: Float[Tensor, "adapter row outputs"]) -> Int64[Tensor, "adapter row"]:
    """Return the class of highest probability, the first at a tie; on the CPU numpy is ten times as fast as PyTorch."""
    on_cpu = predictions.device.type == "cpu"
    return torch.from_numpy(predictions.detach().numpy().argmax(-1)) if on_cpu else predictions.argmax(-1)
