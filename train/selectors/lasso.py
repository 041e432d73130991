"""Relevance by a sparse regression on the adapters' predictions, after Head2Toe (arXiv 2201.03529).

    min_w  1/2 |Y - sum_a w_a P_a|^2 + penalty * sum_a w_a,    w >= 0

Head2Toe regresses the labels on the features of all layers under a group lasso and keeps the features of large norm.
Here a group is an adapter: P_a are its kept predictions, less their mean over the rows, as one regressor, Y the labels
as numbers (one-hot classes), less theirs. A group has a single coefficient, so its norm is that coefficient, its
relevance; all that are not zero are kept, and the relevances, made to sum to one, are the weights. Inferred: all of
this transfer to predictions, the sign constraint, and the penalty, by the cross-fitted loss of the weights.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from ..kept import Kept
from ..resample import folds
from ..settings import SelectSettings

NUM_FOLDS = 5
NUM_STEPS = 300
PENALTIES = torch.logspace(0, -4, 13, dtype=torch.float64)[1:]  # of the penalty under which every weight is zero


def lasso(kept: Kept, settings: SelectSettings) -> dict[str, float]:
    """Return the relevances at the penalty of lowest cross-fitted loss."""
    losses = torch.zeros(len(PENALTIES), dtype=torch.float64)
    for held in folds(kept.blocks, NUM_FOLDS, settings.seed):
        paths = relevances(kept.at((~held if not held.all() else held).nonzero()[:, 0]))
        mixtures = torch.einsum("pa,arv->prv", paths, kept.evidence[:, held].double())
        losses += kept.target.row_losses(mixtures).sum(1)
    weights = relevances(kept)[losses.argmin()].tolist()
    return {one.adapter_id: weight for one, weight in zip(kept.candidates, weights, strict=True) if weight > 0}


def relevances(kept: Kept) -> Float[Tensor, "penalty adapter"]:
    """Return what is relevant at each penalty, summing to one; all of it the best adapter's where nothing is."""
    truth = kept.labels if kept.labels.ndim > 1 else one_hot(kept.labels, kept.predictions.shape[2])
    regressors = (kept.predictions - kept.predictions.mean(1, keepdim=True)).flatten(1).double()
    aim = (truth - truth.double().mean(0)).flatten().double()
    weights = _solve(regressors @ regressors.T, regressors @ aim)
    nothing = weights.sum(1) == 0
    weights[nothing, kept.row_losses().mean(1).argmin()] = 1.0
    return weights / weights.sum(1, keepdim=True)


def _solve(
    gram: Float[Tensor, "adapter other"], towards: Float[Tensor, " adapter"]
) -> Float[Tensor, "penalty adapter"]:
    """Go down the gradient with momentum (Beck & Teboulle 2009), all penalties at once; what turns negative is zero."""
    penalties = PENALTIES[:, None] * towards.max().clamp_min(0)
    stride = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(1e-12)
    weights = ahead = torch.zeros(len(PENALTIES), len(gram), dtype=torch.float64)
    for step in range(NUM_STEPS):
        moved = (ahead - stride * (ahead @ gram - towards + penalties)).clamp_min(0)
        ahead = moved + step / (step + 3) * (moved - weights)
        weights = moved
    return weights
