"""How sure a score is: a percentile interval over rows drawn again with replacement."""

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor


def interval(
    score: Callable[[Int64[Tensor, " row"]], float], num_rows: int, confidence: float, num_resamples: int, seed: int
) -> tuple[float, float]:
    """Return the low and high end for a score of some rows, given how to score any of them."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(num_rows, (num_resamples, num_rows), generator=generator)
    scores = torch.tensor([score(rows) for rows in drawn], dtype=torch.float64)
    tail = (1 - confidence) / 2
    low, high = torch.quantile(scores, torch.tensor([tail, 1 - tail], dtype=scores.dtype)).tolist()
    return low, high
