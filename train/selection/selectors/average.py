"""The plain mean of the k adapters of lowest validation loss; k by cross-fitting.

For every fold of the validation rows the adapters are ranked on the other folds and the mean of the first k is
measured on it; the k of the lowest loss over all folds ranks on all rows. Inferred: the folds, and ranking by loss
(methods disagree) because it tells more of a row than right or wrong.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...runs.validation_predictions import Places, ValidationPredictions, Weights
from ...settings import SelectSettings
from ...splits.resample import fold_masks

NUM_FOLDS = 5


def average(kept: ValidationPredictions, draws: Sequence[Places], settings: SelectSettings) -> Weights:
    """Return equal weights for the k adapters of lowest loss and 0 for the others, for each draw."""
    weights = torch.zeros(len(draws), len(kept.candidates), dtype=torch.float64)
    for mine, drawn in zip(weights, draws, strict=True):
        chosen = _first(kept, drawn, settings)
        mine[chosen] = 1 / len(chosen)
    return weights


def _first(kept: ValidationPredictions, drawn: Places, settings: SelectSettings) -> Places:
    most, losses = min(settings.top, len(kept.candidates)), kept.row_losses[:, drawn]
    found = torch.zeros(most, dtype=torch.float64)
    for held in fold_masks(kept.blocks[drawn], NUM_FOLDS, settings.seed):
        order = losses[:, ~held if not held.all() else held].mean(1).argsort(stable=True)
        means = _running_means(kept.loss_terms[order[:most, None], drawn[held]])
        found += kept.target.row_losses(means).double().sum(1)
    return losses.mean(1).argsort(stable=True)[: int(found.argmin()) + 1]


def _running_means(loss_terms: Float[Tensor, "adapter row value"]) -> Float[Tensor, "adapter row value"]:
    return loss_terms.cumsum(0) / torch.arange(1, len(loss_terms) + 1)[:, None, None]
