"""Relevance by a sparse regression on the adapters' predictions, after Head2Toe (arXiv 2201.03529).

    min_w  1/2 |Y - sum_a w_a P_a|^2 + penalty * sum_a w_a,    w >= 0

Head2Toe regresses the labels on the features of all layers under a group lasso and keeps the features of large norm.
Here a group is an adapter: P_a are its kept predictions, less their mean over the rows, as one regressor, Y the labels
as numbers (one-hot classes), less theirs. A group has a single coefficient, so its norm is that coefficient, its
relevance; all that are not zero are kept, and the relevances, made to sum to one, are the weights. Inferred: all of
this transfer to predictions, the sign constraint, and the penalty, by the cross-fitted loss of the weights.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from ...runs.validation_predictions import Places, ValidationPredictions, Weights
from ...settings import SelectSettings
from ...splits.resample import fold_masks
from ..moments import Moments, moments

NUM_FOLDS = 5
NUM_STEPS = 300
PENALTIES = torch.logspace(0, -4, 13, dtype=torch.float64)[1:]  # of the penalty under which every weight is zero


def lasso(kept: ValidationPredictions, draws: Sequence[Places], settings: SelectSettings) -> Weights:
    """Return the relevances at the penalty of lowest cross-fitted loss; a row is in the same fold of every draw."""
    parts = fold_masks(kept.blocks, NUM_FOLDS, settings.seed)
    counts = torch.stack([drawn.bincount(minlength=len(kept.rows)) for drawn in draws])
    known = moments(kept, counts, parts)
    return torch.stack([_chosen(kept, parts, mine, of) for mine, of in zip(counts, known, strict=True)])


def _chosen(
    kept: ValidationPredictions,
    parts: Sequence[Bool[Tensor, " row"]],
    counts: Int64[Tensor, " row"],
    of_parts: Sequence[Moments],
) -> Float64[Tensor, " adapter"]:
    """Choose from one draw, which has each row so many times: the penalty by its folds, the relevances by all of it."""
    whole = Moments.total(of_parts)
    others = [whole - one if whole.count > one.count else whole for one in of_parts]
    rows = [counts * ~held if whole.count > one.count else counts for held, one in zip(parts, of_parts, strict=True)]
    *paths, found = _relevances(kept, [*others, whole], [*rows, counts])
    losses = [_losses(kept, path, counts * held) for path, held in zip(paths, parts, strict=True)]
    return found[torch.stack(losses).sum(0).argmin()]


def _losses(
    kept: ValidationPredictions, path: Float64[Tensor, "penalty adapter"], counts: Int64[Tensor, " row"]
) -> Float64[Tensor, " penalty"]:
    """Return the summed loss of the mixtures at each penalty, over rows that count."""
    rows = counts.nonzero()[:, 0]
    loss_terms = kept.loss_terms[:, rows].double()
    mixtures = (path @ loss_terms.flatten(1)).unflatten(1, loss_terms.shape[1:])
    return kept.target.row_losses(mixtures) @ counts[rows].double()


def _relevances(
    kept: ValidationPredictions, known: Sequence[Moments], counts: Sequence[Int64[Tensor, " row"]]
) -> Float64[Tensor, "problem penalty adapter"]:
    """Return what is relevant at each penalty, summing to one; all of it the best adapter's where nothing is."""
    grams, towards = (torch.stack(parts).double() for parts in zip(*(one.centred() for one in known), strict=True))
    weights = _solve(grams, towards)
    for path, rows in zip(weights, counts, strict=True):
        nothing = path.sum(1) == 0
        if nothing.any():
            path[nothing, (kept.row_losses * rows).sum(1).argmin()] = 1.0
    return weights / weights.sum(2, keepdim=True)


def _solve(
    grams: Float64[Tensor, "problem adapter other"], towards: Float64[Tensor, "problem adapter"]
) -> Float64[Tensor, "problem penalty adapter"]:
    """Solve problem after problem, each for all penalties, so that its products stay in a core's cache."""
    return torch.stack([_descend(gram, aims) for gram, aims in zip(grams, towards, strict=True)]).double()


def _descend(
    gram: Float64[Tensor, "adapter other"], towards: Float64[Tensor, " adapter"]
) -> Float[Tensor, "penalty adapter"]:
    """Go down the gradient with momentum (Beck & Teboulle 2009); what turns negative is zero."""
    gram = (gram / gram.abs().max().clamp_min(1e-300)).float()  # scales cancel from the relevances
    towards = (towards / towards.abs().max().clamp_min(1e-300)).float()
    # The stride is one over a bound of the largest eigenvalue.
    stride = 1 / torch.linalg.matrix_power(gram, 4).abs().sum(1).max().clamp_min(1e-30) ** 0.25
    gram, slopes = stride * gram, stride * (PENALTIES[:, None].float() * towards.max().clamp_min(0) - towards)
    weights = ahead = torch.zeros_like(slopes)
    for step in range(NUM_STEPS):
        moved = torch.addmm(ahead, ahead, gram, alpha=-1).sub_(slopes).clamp_min_(0)
        ahead, weights = torch.lerp(weights, moved, 1 + step / (step + 3)), moved
    return weights
