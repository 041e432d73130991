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
PENALTIES = torch.logspace(0, -4, 13, dtype=torch.float64)[1:]  # fractions of the least penalty with all weights 0


def lasso(kept: ValidationPredictions, draws: Sequence[Places], settings: SelectSettings) -> Weights:
    """Return weights at the penalty of lowest cross-validated loss; a row is in the same fold in every draw."""
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
    """Return the weights for one draw, in which row i occurs counts[i] times; folds choose the penalty."""
    whole = Moments.total(of_parts)
    others = [whole - one if whole.count > one.count else whole for one in of_parts]
    rows = [counts * ~held if whole.count > one.count else counts for held, one in zip(parts, of_parts, strict=True)]
    *paths, found = _relevances(kept, [*others, whole], [*rows, counts])
    losses = [_losses(kept, path, counts * held) for path, held in zip(paths, parts, strict=True)]
    return found[torch.stack(losses).sum(0).argmin()]


def _losses(
    kept: ValidationPredictions, path: Float64[Tensor, "penalty adapter"], counts: Int64[Tensor, " row"]
) -> Float64[Tensor, " penalty"]:
    """Return the loss of the mixture at each penalty, summed over rows that are weighted by `counts`."""
    rows = counts.nonzero()[:, 0]
    loss_terms = kept.loss_terms[:, rows].double()
    mixtures = (path @ loss_terms.flatten(1)).unflatten(1, loss_terms.shape[1:])
    return kept.target.row_losses(mixtures) @ counts[rows].double()


def _relevances(
    kept: ValidationPredictions, known: Sequence[Moments], counts: Sequence[Int64[Tensor, " row"]]
) -> Float64[Tensor, "problem penalty adapter"]:
    """Return weights that sum to 1 at each penalty; where all would be 0, the adapter of lowest loss gets 1."""
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
    """Solve each problem for all penalties before the next, so that its matrices stay in a core's cache."""
    return torch.stack([_descend(gram, aims) for gram, aims in zip(grams, towards, strict=True)]).double()


def _descend(
    gram: Float64[Tensor, "adapter other"], towards: Float64[Tensor, " adapter"]
) -> Float[Tensor, "penalty adapter"]:
    """Minimise by accelerated projected gradient descent (FISTA, Beck & Teboulle 2009); weights stay >= 0."""
    gram = (gram / gram.abs().max().clamp_min(1e-300)).float()  # scales cancel when the weights are normalised
    towards = (towards / towards.abs().max().clamp_min(1e-300)).float()
    # The step size is the inverse of an upper bound of the largest eigenvalue.
    stride = 1 / torch.linalg.matrix_power(gram, 4).abs().sum(1).max().clamp_min(1e-30) ** 0.25
    gram, slopes = stride * gram, stride * (PENALTIES[:, None].float() * towards.max().clamp_min(0) - towards)
    weights = ahead = torch.zeros_like(slopes)
    for step in range(NUM_STEPS):
        moved = torch.addmm(ahead, ahead, gram, alpha=-1).sub_(slopes).clamp_min_(0)
        ahead, weights = torch.lerp(weights, moved, 1 + step / (step + 3)), moved
    return weights
