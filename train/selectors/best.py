"""The one adapter of highest validation score; ties go to the lower loss, then to the first.

With `one_standard_error` it is the first candidate, they come shallow and small before deep and large, whose loss is
within one standard error of the lowest: the error is that of the difference of the two losses over the rows, or over
the groups where rows have groups (Breiman et al. 1984, for paired losses: inferred).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..kept import Kept
from ..settings import SelectSettings


def best(kept: Kept, settings: SelectSettings) -> dict[str, float]:
    """Return the winner, alone."""
    place = _first_within_one_error(kept) if settings.one_standard_error else _highest(kept)
    return {kept.candidates[place].adapter_id: 1.0}


def _highest(kept: Kept) -> int:
    scores = [kept.target.score(table, kept.labels) for table in kept.predictions]
    return min(range(len(scores)), key=lambda place: (-scores[place].score, scores[place].loss))


def _first_within_one_error(kept: Kept) -> int:
    losses = kept.row_losses()
    worse = losses - losses[losses.mean(1).argmin()]
    return int((worse.mean(1) <= _standard_error(worse, kept.blocks)).nonzero()[0])


def _standard_error(values: Float[Tensor, "adapter row"], blocks: Tensor) -> Float[Tensor, " adapter"]:
    """Return the standard error of each mean, where all rows of a block count as one observation."""
    names, places = blocks.unique(return_inverse=True)
    centred = values - values.mean(1, keepdim=True)
    sums = torch.zeros(len(values), len(names), dtype=values.dtype).index_add_(1, places, centred)
    few = (len(names) / max(1, len(names) - 1)) ** 0.5
    return few * sums.square().sum(1).sqrt() / values.shape[1]
