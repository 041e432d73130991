"""What a submodule reaches within random subspaces of growing dimension, and the dimension that is enough.

The classifier is trained too, so a score has a floor: what it reaches alone. Where that is as good as 90 % of training
the submodule, no dimension means anything.
"""

import math
from collections.abc import Sequence

from icecore.store import Frozen

REACHED = 0.9  # of the reference


class Curve(Frozen):
    """Of one submodule: its score by dimension, the mean over seeds; `floor` is of none of it, `reference` of all.

    `d90` is None where no dimension is enough, and where the floor is.
    """

    module: str
    dimensions: tuple[int, ...]
    scores: tuple[float, ...]
    floor: float
    reference: float
    d90: float | None


def make_curve(
    module: str, dimensions: Sequence[int], scores: Sequence[float], floor: float, reference: float
) -> Curve:
    """Return a curve with its d90."""
    return Curve(
        module=module,
        dimensions=tuple(dimensions),
        scores=tuple(scores),
        floor=floor,
        reference=reference,
        d90=None if floor >= REACHED * reference else d90(dimensions, scores, reference),
    )


def d90(dimensions: Sequence[int], scores: Sequence[float], reference: float) -> float | None:
    """Return where a curve first reaches 90 % of the reference, interpolated in log d; None where it does not."""
    wanted = REACHED * reference
    for place, (dimension, score) in enumerate(zip(dimensions, scores, strict=True)):
        if score < wanted:
            continue
        if place == 0:
            return float(dimension)
        before, low = dimensions[place - 1], scores[place - 1]
        share = (wanted - low) / (score - low)
        return math.exp(math.log(before) + share * (math.log(dimension) - math.log(before)))
    return None


def most_compressible(curves: Sequence[Curve], num: int) -> tuple[str, ...]:
    """Return the submodules to adapt: those of lowest d90, the lowest first; of equals the one that reaches more."""
    known = [(curve.d90, -curve.reference, curve.module) for curve in curves if curve.d90 is not None]
    return tuple(module for *_, module in sorted(known)[:num])
