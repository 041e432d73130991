"""How the tensors of an adapter begin where its paper says nothing else.

Knows shapes; draws in the order of the calls, so that a seed gives an adapter.
"""

import math

import torch
from torch import Generator, Tensor

SPREAD = 0.01  # of a classifier's weights


def uniform(generator: Generator, *shape: int, bound: float | None = None) -> Tensor:
    """Draw from U(-b, b), b being 1 / sqrt(inputs) as in a linear layer of torch; inputs are the last axis."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * (bound or 1 / math.sqrt(shape[-1]))


def xavier(generator: Generator, width: int) -> Tensor:
    """Draw a square matrix as torch's attention does: Xavier-uniform."""
    return uniform(generator, width, width, bound=math.sqrt(3 / width))


def classifier(generator: Generator, num_outputs: int, num_features: int) -> dict[str, Tensor]:
    """Draw weights from N(0, 0.01^2), biases zero."""
    weight = torch.randn(num_outputs, num_features, generator=generator) * SPREAD
    return {"weight": weight, "bias": torch.zeros(num_outputs)}
