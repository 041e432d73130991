"""The one adapter of highest validation score; ties go to the lower loss, then to the first.

With `one_standard_error` it is the first candidate, they come shallow and small before deep and large, whose loss is
within one standard error of the lowest: the error is that of the difference of the two losses over the rows, or over
the groups where rows have groups (Breiman et al. 1984, for paired losses: inferred).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn.functional import one_hot

from ...runs.validation_predictions import Places, ValidationPredictions, Weights
from ...settings import SelectSettings


def best(kept: ValidationPredictions, draws: Sequence[Places], settings: SelectSettings) -> Weights:
    """Return weight 1 for the best adapter of each draw and 0 for the others."""
    pick = _first_within_one_error if settings.one_standard_error else _highest
    places = torch.tensor([pick(kept, drawn) for drawn in draws])
    return one_hot(places, len(kept.candidates)).double()


def _highest(kept: ValidationPredictions, drawn: Places) -> int:
    scores = kept.target.scores(kept.verdicts[:, drawn], kept.labels[drawn])
    tied = (scores == scores.max()).nonzero()[:, 0]
    return int(tied[kept.row_losses[tied][:, drawn].mean(1).argmin()])


def _first_within_one_error(kept: ValidationPredictions, drawn: Places) -> int:
    losses = kept.row_losses[:, drawn]
    worse = losses - losses[losses.mean(1).argmin()]
    return int((worse.mean(1) <= _standard_error(worse, kept.blocks[drawn])).nonzero()[0])


def _standard_error(values: Float64[Tensor, "adapter row"], blocks: Tensor) -> Float64[Tensor, " adapter"]:
    """Return the standard error of each mean, where all rows of a block count as one observation."""
    names, places = blocks.unique(return_inverse=True)
    centred = values - values.mean(1, keepdim=True)
    sums = torch.zeros(len(values), len(names), dtype=values.dtype).index_add_(1, places, centred)
    few = (len(names) / max(1, len(names) - 1)) ** 0.5
    return few * sums.square().sum(1).sqrt() / values.shape[1]
