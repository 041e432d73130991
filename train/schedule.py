"""The learning rate over the life of one adapter: a linear warm-up, then half a cosine down to zero."""

import math

WARM_UP = 0.05  # of all steps


def rate(lr: float, step: int, num_steps: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    warm_up = max(1, round(WARM_UP * num_steps))
    if step < warm_up:
        return lr * (step + 1) / warm_up
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))
