"""Choosing feature dimensions by a group lasso: one group is what a dimension says of all classes.

    penalty = sum_j ||W[:, j]||_2,    and the dimensions j of the largest ||W[:, j]||_2 are kept

(Evci et al. 2022, Head2Toe.) Knows no adapter.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def relevance(weight: Float[Tensor, "*stack classes feature"]) -> Float[Tensor, "*stack feature"]:
    """Say how much a classifier makes of each dimension."""
    return torch.linalg.vector_norm(weight, dim=-2)


def lasso(weight: Float[Tensor, "adapter classes feature"]) -> Float[Tensor, " adapter"]:
    """Return the penalty of each classifier."""
    return relevance(weight).sum(-1)


def keep_top(weight: Float[Tensor, "classes feature"], share: float) -> Float[Tensor, " feature"]:
    """Return 1 for the share of dimensions that are the most relevant, rounded down, at least one; 0 for the rest."""
    scores = relevance(weight)
    best = scores.topk(max(1, int(share * len(scores)))).indices
    return torch.zeros_like(scores).index_fill(0, best, 1.0)
