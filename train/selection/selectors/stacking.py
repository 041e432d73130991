"""Convex weights of lowest validation loss (stacked generalisation: Wolpert 1992, Breiman 1996).

    min_w  mean_row loss(sum_a w_a p_a),    w >= 0,  sum w = 1

The problem is convex. The weights are a softmax of unconstrained logits, which L-BFGS optimises for all draws at once.
Not from the papers: weights below 0.001 are dropped, so that adapters of negligible weight need not be computed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...modules.lbfgs import minimise
from ...runs.validation_predictions import Places, ValidationPredictions, Weights
from ...settings import SelectSettings

NUM_STEPS = 200
LEAST = 1e-3


def stacking(kept: ValidationPredictions, draws: Sequence[Places], settings: SelectSettings) -> Weights:
    """Return the weights of lowest loss on each draw; weights below `LEAST` are 0 and the others sum to 1."""
    weights = lowest_losses(kept, draws)
    weights = torch.where(weights < LEAST, 0.0, weights)
    return weights / weights.sum(1, keepdim=True)


def lowest_losses(kept: ValidationPredictions, draws: Sequence[Places]) -> Weights:
    """Return the convex weights of lowest loss on each draw; the optimisation starts at equal weights."""
    shape, unknown = kept.loss_terms.shape[1:], kept.loss_terms[0].isnan()  # unknown labels are NaN
    loss_terms = kept.loss_terms.double().nan_to_num(0).flatten(1)
    counts = torch.stack([drawn.bincount(minlength=len(kept.rows)) for drawn in draws]).double()
    counts /= counts.sum(1, keepdim=True)

    def evaluate(free: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss on every draw and its gradient with respect to the logits."""
        with torch.enable_grad():
            free = free.detach().requires_grad_()
            mixtures = (free.softmax(1) @ loss_terms).unflatten(1, shape)
            losses = (kept.target.row_losses(torch.where(unknown, torch.nan, mixtures)) * counts).sum(1)
            (gradient,) = torch.autograd.grad(losses.sum(), free)
        return losses.detach(), gradient

    return minimise(evaluate, torch.zeros(len(draws), len(loss_terms), dtype=torch.float64), NUM_STEPS).softmax(1)
