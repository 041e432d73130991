"""Forward selection with replacement (Caruana et al. 2004): add the adapter that lowers the ensemble's loss most.

An adapter's weight is how often it was added. The path is cut where the validation loss was lowest, so that the
ensemble is never worse there than the best adapter alone.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..kept import Kept
from ..settings import SelectSettings
from ..target import Target

NUM_STEPS = 30


def greedy(kept: Kept, settings: SelectSettings) -> dict[str, float]:
    """Return how often each was added, as a share."""
    weights = forward_selection(kept.evidence, kept.target, NUM_STEPS).tolist()
    return {one.adapter_id: weight for one, weight in zip(kept.candidates, weights, strict=True) if weight > 0}


def forward_selection(
    evidence: Float[Tensor, "adapter row value"], target: Target, num_steps: int
) -> Float[Tensor, " adapter"]:
    """Return the weights at the lowest loss of the path; of equal adapters the first is added."""
    total, path, lowest = torch.zeros_like(evidence[0]), [], []
    for step in range(1, num_steps + 1):
        losses = target.row_losses((total + evidence) / step).double().mean(1)
        added = int(losses.argmin())
        total = total + evidence[added]
        path.append(added)
        lowest.append(float(losses[added]))
    best = min(range(num_steps), key=lambda step: lowest[step]) + 1
    return torch.bincount(torch.tensor(path[:best]), minlength=len(evidence)) / best
