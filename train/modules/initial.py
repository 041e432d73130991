"""Initial values of an adapter's tensors, for families whose paper gives no others.

Numbers are drawn in the order of the calls, so that a seed determines an adapter.
"""

import math

import torch
from torch import Generator, Tensor

SPREAD = 0.01  # of a classifier's weights


def uniform(generator: Generator, *shape: int, bound: float | None = None) -> Tensor:
    """Draw from U(-bound, bound), by default 1 / sqrt(size of the last axis), as `torch.nn.Linear` does."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * (bound or 1 / math.sqrt(shape[-1]))


def xavier(generator: Generator, width: int) -> Tensor:
    """Draw a square matrix by Xavier-uniform initialisation, as `torch.nn.MultiheadAttention` does."""
    return uniform(generator, width, width, bound=math.sqrt(3 / width))


def classifier(generator: Generator, num_outputs: int, num_features: int) -> dict[str, Tensor]:
    """Return the tensors `weight`, drawn from N(0, 0.01^2), and `bias`, zero, of a linear classifier."""
    weight = torch.randn(num_outputs, num_features, generator=generator) * SPREAD
    return {"weight": weight, "bias": torch.zeros(num_outputs)}
