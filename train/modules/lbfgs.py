"""L-BFGS (Nocedal & Wright 2006, algorithm 7.4) on many small problems at once.

Each problem has its own step sizes, so that its solution does not depend on the problems beside it.
"""

from collections import deque
from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

MEMORY = 50  # pairs of a step and a change of the gradient that approximate the inverse Hessian
MOST_HALVINGS = 12  # of one step in the line search
DECREASE = 1e-4  # sufficient decrease, as a share of the decrease that the slope predicts
FARTHEST = 3.0  # largest change of a number in one step: beyond it a softmax saturates and its gradient vanishes
FLAT = 1e-9  # the largest gradient at which a problem is solved

Points = Float64[Tensor, "problem number"]
Values = Float64[Tensor, " problem"]
Pairs = deque[tuple[Points, Points, Values]]  # a step, the gradient's change, one over their product: 0 if not positive


def minimise(evaluate: Callable[[Points], tuple[Values, Points]], start: Points, num_steps: int) -> Points:
    """Return the minimiser of each smooth function; `evaluate` returns values and gradients at given points."""
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
    """Return the approximate inverse Hessian times the gradient, by the two-loop recursion."""
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
    """Step along `direction`, halved where the decrease is too small; a problem that does not improve stays put."""
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
