"""How sure a score is: a percentile interval over rows, or whole groups of them, drawn again with replacement."""

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor

from .resample import bootstraps


def interval(
    score: Callable[[Int64[Tensor, " place"]], float],
    blocks: Int64[Tensor, " row"],
    confidence: float,
    num_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the low and high end for a score of some rows, given how to score any of them; blocks stay whole.

    Resamples that have no score, as where no class occurs, do not count; NaN where none has.
    """
    scores = torch.tensor([score(drawn) for drawn in bootstraps(blocks, num_resamples, seed)], dtype=torch.float64)
    tail = (1 - confidence) / 2
    low, high = torch.nanquantile(scores, torch.tensor([tail, 1 - tail], dtype=scores.dtype)).tolist()
    return low, high
