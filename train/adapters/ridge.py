"""The linear probe in closed form: ridge regression on pooled features of a layer, the penalty by leave-one-out.

    logits = scale (W f + b) + shift        W, b: least squares to one-hot classes (0 or 1 a class, numbers)

There is no gradient and no epoch: all train rows are solved for at once, and every penalty of a grid is judged on rows
left out, without a refit; rows of one group, and all views of a row, are left out together (`LeastSquares`).

Inferred: columns are standardised first; least squares are no probabilities, so scale and shift are fitted to the
outputs of left-out rows, by the loss of the target. Both are folded into W and b: a solved probe is a linear probe.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from icecore.store import LayerSpec

from ..modules.least_squares import LeastSquares, Standard
from ..targets.target import Labels, LossWeights, Target
from ..tokens.batch import TokenBatch
from .linear import Linear, LinearConfig
from .optional import ClosedForm

STEEPEST = 30.0  # largest scale: where no left-out row is wrong, the loss falls with every larger scale
NUM_STEPS = 50


class Ridge(Linear, ClosedForm[LinearConfig]):
    """A stack of one linear probe that is solved in closed form."""

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return the poolings of the linear probe; a closed form has no recipe."""
        return {"pooling": super().default_grid(spec)["pooling"]}

    def regressors(self, batch: TokenBatch) -> Float[Tensor, "row feature"]:
        """Return the pooled features."""
        return self._features(batch)

    @torch.no_grad()
    def solve(
        self,
        regressors: Float[Tensor, "row feature"],
        labels: Labels,
        groups: Int64[Tensor, " row"],
        target: Target,
    ) -> float:
        """Set weight and bias from all rows; return the loss on left-out rows."""
        if not regressors.isfinite().all():
            return math.nan
        values, regression_targets = (
            regressors.double(),
            target.regression_targets(labels, self.scope.num_outputs).double(),
        )
        standard = Standard.of(values)
        columns = standard(values)
        left, singular, _ = torch.linalg.svd(columns, full_matrices=False)
        squares = LeastSquares(left, singular, regression_targets, groups)
        scale, shift, loss = _calibrated(squares.held_out(squares.penalty), labels, target)
        weight = standard.unfolded(squares.weights(columns, squares.penalty))
        bias = regression_targets.mean(0) - standard.centre @ weight
        self.weight[0] = scale * weight.T
        self.bias[0] = scale * bias + shift
        return loss


def _calibrated(outputs: Float[Tensor, "row output"], labels: Labels, target: Target) -> tuple[float, float, float]:
    """Return the scale and the shift of the outputs with the lowest loss, and that loss."""
    logscale_shift = torch.zeros(
        2, dtype=torch.float64, requires_grad=True
    )  # the logarithm of the scale, and the shift
    solver = torch.optim.LBFGS([logscale_shift], max_iter=NUM_STEPS, line_search_fn="strong_wolfe")

    def scale() -> Tensor:
        return logscale_shift[0].clamp(max=math.log(STEEPEST)).exp()

    def loss() -> Tensor:
        solver.zero_grad()
        value = target.losses((scale() * outputs + logscale_shift[1])[None], labels, LossWeights())[0]
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)  # pyright: ignore[reportArgumentType]
        lowest = loss()
    return scale().item(), logscale_shift[1].item(), lowest.item()
