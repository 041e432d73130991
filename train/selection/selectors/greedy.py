"""Forward selection with replacement (Caruana et al. 2004): add the adapter that lowers the ensemble's loss most.

An adapter's weight is how often it was added. The path is cut where the validation loss was lowest, so that the
ensemble is never worse there than the best adapter alone.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ...runs.validation_predictions import Places, ValidationPredictions, Weights
from ...settings import SelectSettings
from ...targets.target import Target

NUM_STEPS = 30


def greedy(kept: ValidationPredictions, draws: Sequence[Places], settings: SelectSettings) -> Weights:
    """Return weights: the share of steps that added each adapter."""
    everyone = torch.arange(len(kept.candidates))
    return torch.stack([forward_selection(kept, everyone, drawn, NUM_STEPS) for drawn in draws])


def forward_selection(
    kept: ValidationPredictions, some: Places, drawn: Places, num_steps: int
) -> Float64[Tensor, " some"]:
    """Return the weights of the adapters `some` at the lowest loss of the path; ties go to the first adapter."""
    if len(some) == 1:  # a path of dozens of steps would add the same adapter each time
        return torch.ones(1, dtype=torch.float64)
    rows, counts = drawn.unique(return_counts=True)
    path, losses = _path(kept.loss_terms[some[:, None], rows], counts.to(kept.loss_terms), kept.target, num_steps)
    best = min(range(num_steps), key=lambda step: losses[step]) + 1
    return torch.bincount(torch.tensor(path[:best]), minlength=len(some)).double() / best


def _path(
    loss_terms: Float[Tensor, "adapter row value"], counts: Float[Tensor, " row"], target: Target, num_steps: int
) -> tuple[list[int], list[float]]:
    """Return the adapter added at each step, and the ensemble's loss after the step."""
    total, path, lowest = torch.zeros_like(loss_terms[0]), list[int](), list[float]()
    for step in range(1, num_steps + 1):
        losses = target.losses_with(total, loss_terms, step, counts)
        added = int(losses.argmin())
        total = total + loss_terms[added]
        path.append(added)
        lowest.append(float(losses[added]))
    return path, lowest
