"""Quasi-Newton steps (L-BFGS, Nocedal & Wright 2006, 7.4) of many small problems at once.

Each problem has steps of its own, so that it does not matter which others are solved beside it. Knows no adapter.
"""

from collections import deque
from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

MEMORY = 50  # pairs of steps and changes of the gradient that are remembered
MOST_HALVINGS = 12  # of one step
DECREASE = 1e-4  # of what the slope promises, at least
FARTHEST = 3.0  # that a number moves in one step: behind a softmax, beyond is flat land that no slope leads out of
FLAT = 1e-9  # the largest gradient at which a problem is solved

Points = Float64[Tensor, "problem number"]
Values = Float64[Tensor, " problem"]
Pairs = deque[tuple[Points, Points, Values]]  # a step, the gradient's change, one over their product: 0 if not positive


def minimise(evaluate: Callable[[Points], tuple[Values, Points]], start: Points, num_steps: int) -> Points:
    """Return where each smooth function is least, given values and gradients at some points."""
    point, (value, gradient) = start, evaluate(start)
    pairs: Pairs = deque(maxlen=MEMORY)
    scale = 1 / gradient.abs().sum(1).clamp_min(1)  # of the first step
    for _ in range(num_steps):
        if bool((gradient.abs() <= FLAT).all()):
            break
        direction = -_newton(gradient, pairs, scale)
        moved, better, change = _walk(evaluate, point, value, gradient, direction)
        step, turn = moved - point, change - gradient
        product, square = (step * turn).sum(1), turn.square().sum(1)
        is_convex = product > 1e-12 * square
        pairs.append((step, turn, torch.where(is_convex, 1 / product, 0.0)))
        scale = torch.where(is_convex, product / square, scale)
        point, value, gradient = moved, better, change
    return point


def _newton(gradient: Points, pairs: Pairs, scale: Values) -> Points:
    """Return what the remembered pairs make of the inverse of the second derivative, times the gradient."""
    found, shares = gradient, list[Values]()
    for step, turn, inverse in reversed(pairs):
        shares.append(inverse * (step * found).sum(1))
        found = found - shares[-1][:, None] * turn
    found = scale[:, None] * found
    for (step, turn, inverse), share in zip(pairs, reversed(shares), strict=True):
        found = found + (share - inverse * (turn * found).sum(1))[:, None] * step
    return found


def _walk(
    evaluate: Callable[[Points], tuple[Values, Points]],
    point: Points,
    value: Values,
    gradient: Points,
    direction: Points,
) -> tuple[Points, Values, Points]:
    """Take a step, halved where it is too long; a problem that no step makes better stays where it is."""
    slope, rate = (direction * gradient).sum(1), (FARTHEST / direction.abs().amax(1)).clamp_max(1.0)
    moved, found, change = point, value, gradient
    for _ in range(MOST_HALVINGS):
        moved = point + rate[:, None] * direction
        found, change = evaluate(moved)
        too_long = ~(found <= value + DECREASE * rate * slope)
        if not bool(too_long.any()):
            break
        rate = torch.where(too_long, rate / 2, rate)
    stays = ~(found <= value)
    return moved.where(~stays[:, None], point), found.where(~stays, value), change.where(~stays[:, None], gradient)
