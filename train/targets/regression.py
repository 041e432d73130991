"""Numbers: squared error, and the share of variance explained.

Adapters are trained towards numbers of mean zero and deviation one. All that is kept, mixed and measured is in that
unit, so that neither the size of the numbers nor their offset matters; `in_data_unit` puts the data set's unit back.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from icecore.store import Store, UsageError

from .target import Labels, LossWeights, Outputs, Rows, Scores, Target

NUM_STRATA = 10  # of the first output, equally full
FARTHEST = 1e100  # deviations from the mean: farther is no farther, and nearer than one over it is there
LEAST, MOST = float(np.nextafter(0, 1)), float(np.finfo(np.float64).max)
HUGE = 1e300  # from here on a sum of two numbers may not be one


class Regression(Target):
    """Labels are a number for every output, in float64; NaN where a row has none.

    `shift` and `scale` are the mean and the deviation of the train rows in the data set's unit; a scale of 0 says that
    an output never varied: that number is then the prediction.
    """

    score_name = "r2"
    loss_name = "nmse"
    shift: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def fitted(self, labels: Labels) -> "Regression":
        """Learn the mean and the deviation of every output."""
        columns = [_mean_and_deviation(column) for column in labels.double().numpy().T]
        return Regression(shift=tuple(mean for mean, _ in columns), scale=tuple(spread for _, spread in columns))

    def labels(self, store: Store, rows: Rows) -> Float[Tensor, "row outputs"]:
        """Return the numbers of each row, in the data set's unit."""
        return torch.from_numpy(store.targets[rows])

    def known(self, labels: Labels) -> Bool[Tensor, " row"]:
        """Say which rows have numbers."""
        return ~labels.isnan().any(1)

    def standardised(self, values: Float[Tensor, "*axes outputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return numbers of the data set's unit as deviations from the mean of the train rows.

        Exact to rounding for whatever float64 holds: all is divided by a power of two first, lest a sum overflow.
        """
        shift, unit = (np.array(one) for one in (self.shift, self._units))
        power = np.frexp(unit)[1]
        with np.errstate(over="ignore", invalid="ignore"):
            near, middle = (np.ldexp(one, -power) for one in (values.double().numpy(), shift))
            found = (near - middle) / np.ldexp(unit, -power)
        return torch.from_numpy(np.clip(found, -FARTHEST, FARTHEST))

    def in_data_unit(self, predictions: Float[Tensor, "*axes outputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return predictions in the data set's unit, in float64; what is beyond its range is at its end."""
        wide = (predictions.cpu() if predictions.device.type == "mps" else predictions).double()
        part = 0.25 if max(map(abs, (*self.shift, *self.scale))) > HUGE else 1.0
        shift, scale = (wide.new_tensor(one) * part for one in (self.shift, self.scale))
        return (wide * scale + shift).clamp(-MOST * part, MOST * part) / part

    @property
    def _units(self) -> tuple[float, ...]:
        """The unit of each output's errors: its deviation; where it never varied its size, or one."""
        return tuple(scale or abs(shift) or 1.0 for shift, scale in zip(self.shift, self.scale, strict=True))

    def strata(self, labels: Labels) -> Int64[np.ndarray, " row"]:
        """Part the rows by the first output into tenths."""
        first = labels[:, 0].double().numpy() / 4  # so that the distance of two is a number
        return np.searchsorted(np.quantile(first, np.linspace(0, 1, NUM_STRATA + 1)[1:-1]), first)

    def balance(self, labels: Labels, num_outputs: int) -> Float[Tensor, " outputs"]:
        """Refuse: there are no classes to balance."""
        raise UsageError("class weights 'balanced': the target is regression, which has no classes; use none")

    def losses(self, outputs: Outputs, labels: Labels, loss_weights: LossWeights) -> Float[Tensor, " adapter"]:
        """Return the mean squared error over rows and outputs, in units of variance."""
        if loss_weights.smoothing is not None:
            raise UsageError("label smoothing: the target is regression, which has no classes; use 0")
        return (outputs - labels.to(outputs)).square().mean((1, 2))

    def regression_targets(self, labels: Labels, num_outputs: int) -> Float[Tensor, "row outputs"]:
        """Return the labels."""
        return labels

    def predictions(self, outputs: Outputs) -> Outputs:
        """Return the outputs, and the mean of what never varied."""
        return outputs * outputs.new_tensor([float(scale > 0) for scale in self.scale])

    def score(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> Scores:
        """Return R2, the mean over outputs, and the mean squared error; an output that never varies counts 0."""
        wide = labels.double()
        error, deviation = (predictions.double() - wide).square(), wide - wide.mean(0)
        varies = (wide.amax(0) > wide.amin(0)) & (deviation.abs().amax(0) > 1 / FARTHEST)
        r2 = torch.where(varies, 1 - error.sum(0) / deviation.square().sum(0).where(varies, 1), 0.0)
        return Scores(float(r2.mean()), float(error.mean()))

    def loss_terms(
        self, predictions: Float[Tensor, "adapter row outputs"], labels: Labels
    ) -> Float[Tensor, "adapter row value"]:
        """Return the errors."""
        return predictions - labels

    def row_losses(self, loss_terms: Float[Tensor, "*mix row value"]) -> Float[Tensor, "*mix row"]:
        """Return the mean squared error of the outputs."""
        return loss_terms.square().mean(-1)

    def metrics(self, predictions: Float[Tensor, "row outputs"], labels: Labels) -> dict[str, float]:
        """Return the variance explained, and errors: in units of variance, and in the data set's unit."""
        if not len(labels):
            return dict.fromkeys(("r2", "nmse", "rmse", "mae"), math.nan)
        scores, largest = self.score(predictions, labels), max(self._units)
        shares = torch.tensor(self._units, dtype=torch.float64) / largest
        errors = (predictions.double() - labels.double()) * shares
        return {
            "r2": scores.score,
            "nmse": scores.loss,
            "rmse": float(errors.square().mean().sqrt()) * largest,
            "mae": float(errors.abs().mean()) * largest,
        }


def _mean_and_deviation(column: Float[np.ndarray, " row"]) -> tuple[float, float]:
    """Return both for whatever float64 holds: computed within -1 and 1."""
    if column.min() == column.max():
        return float(column[0]), 0.0
    power = int(np.frexp(np.abs(column).max())[1])
    small = np.ldexp(column, -power)
    return float(np.ldexp(small.mean(), power)), max(LEAST, float(np.ldexp(small.std(), power)))
