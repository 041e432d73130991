"""Convex weights of lowest validation loss (stacked generalisation: Wolpert 1992, Breiman 1996).

    min_w  mean_row loss(sum_a w_a p_a),    w >= 0,  sum w = 1

The problem is convex; the weights are a softmax of free numbers, which quasi-Newton steps move. Inferred: weights below
a thousandth are dropped, so that an adapter that hardly votes is not computed.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..kept import Kept
from ..settings import SelectSettings

NUM_STEPS = 100
LEAST = 1e-3


def stacking(kept: Kept, settings: SelectSettings) -> dict[str, float]:
    """Return the weights that are not next to nothing."""
    weights = lowest_loss(kept)
    weights = torch.where(weights < LEAST, 0.0, weights)
    weights = (weights / weights.sum()).tolist()
    return {one.adapter_id: weight for one, weight in zip(kept.candidates, weights, strict=True) if weight > 0}


def lowest_loss(kept: Kept) -> Float[Tensor, " adapter"]:
    """Return the convex weights of lowest loss, from equal ones on."""
    evidence = kept.evidence.double()
    free = torch.zeros(len(evidence), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([free], max_iter=NUM_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = kept.loss(torch.einsum("a,arv->rv", free.softmax(0), evidence))
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)  # pyright: ignore[reportArgumentType]
    return free.detach().softmax(0)
