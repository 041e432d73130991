"""Selection of feature dimensions by a group lasso: one group is the weights of a dimension for all classes.

    penalty = sum_j ||W[:, j]||_2,    and the dimensions j of the largest ||W[:, j]||_2 are kept

(Evci et al. 2022, Head2Toe.)
"""

import torch
from jaxtyping import Float
from torch import Tensor


def relevance(weight: Float[Tensor, "*stack classes feature"]) -> Float[Tensor, "*stack feature"]:
    """Return the norm of each dimension's weights."""
    return torch.linalg.vector_norm(weight, dim=-2)


def lasso(weight: Float[Tensor, "adapter classes feature"]) -> Float[Tensor, " adapter"]:
    """Return the group-lasso penalty of each classifier."""
    return relevance(weight).sum(-1)


def keep_top(weight: Float[Tensor, "classes feature"], share: float) -> Float[Tensor, " feature"]:
    """Return a mask with 1 for the share of dimensions of the largest norm, rounded down but at least one.

    >>> keep_top(torch.tensor([[3.0, 0.0, 1.0, 2.0]]), 0.5)
    tensor([1., 0., 0., 1.])
    """
    scores = relevance(weight)
    best = scores.topk(max(1, int(share * len(scores)))).indices
    return torch.zeros_like(scores).index_fill(0, best, 1.0)
