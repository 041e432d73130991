"""Normalisation for stacks: layer normalisation without an affine, and batch normalisation for each adapter.

Batch normalisation uses the statistics of the batch in training, and running statistics otherwise.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

EPS = 1e-6


def normalise(values: Float[Tensor, "*stack width"], eps: float = EPS) -> Float[Tensor, "*stack width"]:
    """Apply layer normalisation without an affine over the last axis, in the dtype of `values`.

    >>> normalise(torch.tensor([[1.0, 3.0]])).round(decimals=3)
    tensor([[-1.,  1.]])
    """
    return layer_norm(values, values.shape[-1:], eps=eps)


MOMENTUM = 0.1


def moments(
    values: Float[Tensor, "stack sample width"],
    mean: Float[Tensor, "adapter width"],
    variance: Float[Tensor, "adapter width"],
    training: bool,
) -> tuple[Float[Tensor, "adapter width"], Float[Tensor, "adapter width"]]:
    """Return the mean and variance to normalise by; in training, those of the batch.

    Training also updates the running `mean` and `variance` in place, the variance unbiased as in PyTorch. A `stack` of
    one is shared by all adapters.
    """
    if not training:
        return mean, variance
    spread, centre = torch.var_mean(values.float(), 1, correction=0)
    count = values.shape[1]
    with torch.no_grad():
        mean.lerp_(centre.expand_as(mean), MOMENTUM)
        variance.lerp_((spread * (count / max(1, count - 1))).expand_as(variance), MOMENTUM)
    return centre.expand_as(mean), spread.expand_as(variance)
