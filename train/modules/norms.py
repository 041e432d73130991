"""Normalisation for stacks: layer normalisation without an affine, and batch normalisation of each adapter's own.

A batch gives the statistics in training; otherwise the running ones do.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

EPS = 1e-6


def normalise(values: Float[Tensor, "*stack width"], eps: float = EPS) -> Float[Tensor, "*stack width"]:
    """Give every vector mean zero and variance one."""
    return layer_norm(values, values.shape[-1:], eps=eps)


MOMENTUM = 0.1


def moments(
    values: Float[Tensor, "stack sample width"],
    mean: Float[Tensor, "adapter width"],
    variance: Float[Tensor, "adapter width"],
    training: bool,
) -> tuple[Float[Tensor, "adapter width"], Float[Tensor, "adapter width"]]:
    """Return mean and variance to normalise by; in training they are the batch's, and move the running ones.

    A `stack` of one is shared by all adapters. The running variance is of the unbiased kind, as in torch.
    """
    if not training:
        return mean, variance
    spread, centre = torch.var_mean(values.float(), 1, correction=0)
    count = values.shape[1]
    with torch.no_grad():
        mean.lerp_(centre.expand_as(mean), MOMENTUM)
        variance.lerp_((spread * (count / max(1, count - 1))).expand_as(variance), MOMENTUM)
    return centre.expand_as(mean), spread.expand_as(variance)
