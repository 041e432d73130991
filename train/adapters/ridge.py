"""The linear probe in closed form: ridge regression on pooled features of a layer, the penalty by leave-one-out.

    logits = scale (W f + b) + shift        W, b: least squares to one-hot classes (0 or 1 a class, numbers)

No gradient, no epoch, nothing to tune: all train rows are solved for at once, and every penalty of a grid is judged on
rows left out, without a refit; rows of one group, and all views of a row, are left out together (`LeastSquares`).

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

STEEPEST = 30.0  # scale where no row is wrong when left out, and no scale is enough
NUM_STEPS = 50


class Ridge(Linear, ClosedForm[LinearConfig]):
    """One probe that is solved for."""

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Look at what the linear probe looks at."""
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
        """Solve; return the loss on rows left out."""
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
    """Return the scale and the shift under which some outputs have the lowest loss, and that loss."""
    free = torch.zeros(2, dtype=torch.float64, requires_grad=True)  # the logarithm of the scale, and the shift
    solver = torch.optim.LBFGS([free], max_iter=NUM_STEPS, line_search_fn="strong_wolfe")

    def scale() -> Tensor:
        return free[0].clamp(max=math.log(STEEPEST)).exp()

    def loss() -> Tensor:
        solver.zero_grad()
        value = target.losses((scale() * outputs + free[1])[None], labels, LossWeights())[0]
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)  # pyright: ignore[reportArgumentType]
        lowest = loss()
    return scale().item(), free[1].item(), lowest.item()
