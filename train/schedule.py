"""The learning rate over the life of one adapter: in every phase a linear warm-up, then half a cosine down to zero."""

import math
from collections.abc import Sequence

WARM_UP = 0.05  # of all steps of a phase


def rate(lr: float, step: int, num_steps: int) -> float:
    """Return the learning rate of a step of a phase, counted from 0."""
    warm_up = max(1, round(WARM_UP * num_steps))
    if step < warm_up:
        return lr * (step + 1) / warm_up
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))


def phase_starts(shares: Sequence[float], num_epochs: int) -> list[int]:
    """Return the epoch, counted from 0, with which each phase begins; every phase has an epoch if there are enough."""
    starts = [0]
    for share in shares[:-1]:
        starts.append(min(num_epochs, max(starts[-1] + 1, starts[-1] + round(share * num_epochs))))
    return starts
