"""How sure an accuracy is: a percentile interval over rows drawn again with replacement."""

import torch
from jaxtyping import Float
from torch import Tensor


def interval(values: Float[Tensor, " row"], confidence: float, num_resamples: int, seed: int) -> tuple[float, float]:
    """Return the low and high end for the mean of some values."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(values), (num_resamples, len(values)), generator=generator)
    means = values[drawn].mean(1)
    tail = (1 - confidence) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=means.dtype)).tolist()
    return low, high
