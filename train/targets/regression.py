"""Numbers: squared error, and the share of variance explained.

Adapters are trained towards numbers of mean zero and variance one; `predictions` puts the unit of the data set back.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from icecore.store import Store, UsageError

from ..target import Emphasis, Labels, Outputs, Rows, Scores, Target

NUM_STRATA = 10  # of the first output, equally full


class Regression(Target):
    """Labels are a number for every output, in the unit of the data set; NaN where a row has none."""

    score_name = "r2"
    loss_name = "mse"
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def fitted(self, labels: Labels) -> "Regression":
        """Learn the mean and the deviation of every output; one that never varies keeps its unit."""
        scale = labels.std(0, correction=0)
        return Regression(shift=tuple(labels.mean(0).tolist()), scale=tuple(scale.where(scale > 0, 1).tolist()))

    def labels(self, store: Store, rows: Rows) -> Float[Tensor, "row outputs"]:
        """Return the numbers of each row."""
        return torch.from_numpy(store.targets[rows])

    def known(self, labels: Labels) -> Bool[Tensor, " row"]:
        """Say which rows have numbers."""
        return ~labels.isnan().any(1)

    def strata(self, labels: Labels) -> Int64[np.ndarray, " row"]:
        """Part the rows by the first output into tenths."""
        edges = torch.quantile(labels[:, 0], torch.linspace(0, 1, NUM_STRATA + 1)[1:-1])
        return torch.bucketize(labels[:, 0].contiguous(), edges).numpy()

    def balance(self, labels: Labels, num_outputs: int) -> Float[Tensor, " outputs"]:
        """Refuse: there are no classes to balance."""
        raise UsageError("class weights 'balanced': the target is regression, which has no classes; use none")

    def losses(self, outputs: Outputs, labels: Labels, emphasis: Emphasis) -> Float[Tensor, " adapter"]:
        """Return the mean squared error over rows and outputs, in units of variance."""
        if emphasis.smoothing is not None:
            raise UsageError("label smoothing: the target is regression, which has no classes; use 0")
        return (outputs - self.aims(labels.to(outputs), outputs.shape[2])).square().mean((1, 2))

    def aims(self, labels: Labels, num_outputs: int) -> Float[Tensor, "row outputs"]:
        """Return the labels in units of deviation."""
        shift, scale = self._unit(labels)
        return (labels - shift) / scale

    def predictions(self, outputs: Outputs) -> Outputs:
        """Return the numbers in the unit of the data set."""
        shift, scale = self._unit(outputs)
        return outputs * scale + shift

    def _unit(self, outputs: Float[Tensor, "*axes outputs"]) -> tuple[Tensor, Tensor]:
        return outputs.new_tensor(self.shift or (0.0,)), outputs.new_tensor(self.scale or (1.0,))

    def score(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> Scores:
        """Return R2, the mean over outputs, and the mean squared error; an output that never varies counts 0."""
        error = (predictions - labels).double().square()
        spread = (labels - labels.mean(0)).double().square().sum(0)
        r2 = torch.where(spread > 0, 1 - error.sum(0) / spread.clamp_min(1e-300), 0.0)
        return Scores(float(r2.mean()), float(error.mean()))

    def evidence(
        self, predictions: Float[Tensor, "adapter row outputs"], labels: Labels
    ) -> Float[Tensor, "adapter row value"]:
        """Return the errors."""
        return predictions - labels

    def row_losses(self, evidence: Float[Tensor, "*mix row value"]) -> Float[Tensor, "*mix row"]:
        """Return the mean squared error of the outputs."""
        return evidence.square().mean(-1)

    def metrics(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> dict[str, float]:
        """Return the variance explained, and errors in the data set's unit."""
        if not len(labels):
            return dict.fromkeys(("r2", "mse", "mae"), math.nan)
        scores = self.score(predictions, labels)
        return {"r2": scores.score, "mse": scores.loss, "mae": float((predictions - labels).abs().mean())}
