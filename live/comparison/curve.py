"""Score of a submodule by the dimension of the random subspace it is trained in, and the dimension d90 that suffices.

The classifier is trained too, so the score of the classifier alone is a floor. Where the floor is 90 % of the score of
training the submodule in full, d90 is undefined.
"""

import math
from collections.abc import Sequence

from icecore.store import Frozen

REACHED = 0.9  # of the reference


class Curve(Frozen):
    """Scores of one submodule by subspace dimension, mean over seeds.

    `floor` is the score of the classifier alone, `reference` that of training the submodule in full. `d90` is None
    where no dimension reaches 90 % of `reference`, and where `floor` does.
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
    """Return the dimension at which scores first reach 90 % of `reference`, interpolated in log d; None if never.

    >>> round(d90((10, 1000), (0.8, 1.0), reference=1.0))
    100
    """
    wanted = REACHED * reference
    for index, (dimension, score) in enumerate(zip(dimensions, scores, strict=True)):
        if score < wanted:
            continue
        if index == 0:
            return float(dimension)
        before, low = dimensions[index - 1], scores[index - 1]
        share = (wanted - low) / (score - low)
        return math.exp(math.log(before) + share * (math.log(dimension) - math.log(before)))
    return None


def most_compressible(curves: Sequence[Curve], num: int) -> tuple[str, ...]:
    """Return the `num` submodules of lowest d90, the lowest first; ties go to the higher reference score."""
    known = [(curve.d90, -curve.reference, curve.module) for curve in curves if curve.d90 is not None]
    return tuple(module for *_, module in sorted(known)[:num])
