"""Which values of a data set become black and white, where its images hold more than bytes. Knows nothing of files."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "float"]

QUARTER = 0.25  # of a range: an image set that uses less of it has another one
FLOAT_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0))
FEWEST_BITS = 8


@dataclass(frozen=True, slots=True)
class Extent:
    """The smallest and the largest value of one image, of kind `int` or `float`."""

    kind: Kind
    low: float
    high: float


def fitting_ranges(extents: Iterable[Extent]) -> dict[Kind, tuple[float, float]]:
    """Return black and white for each kind that occurs, from the values of all images together.

    One range serves all images, so that what is brighter stays brighter. Whole numbers are taken for numbers of the
    fewest bits, an even count from 8 on, that hold them all: 0 to 4,095 for 12 bits in 16, -2,048 to 2,047 with a sign.
    Floats have the first of 0 to 1, -1 to 1, 0 to 255 and 0 to 65,535 that holds them all and of which they use a
    quarter; else the range is what they use.
    """
    found: dict[Kind, tuple[float, float]] = {}
    for one in extents:
        low, high = found.get(one.kind, (math.inf, -math.inf))
        found[one.kind] = min(low, one.low), max(high, one.high)
    return {kind: _of_ints(*ends) if kind == "int" else _of_floats(*ends) for kind, ends in sorted(found.items())}


def _of_ints(low: float, high: float) -> tuple[float, float]:
    for bits in itertools.count(FEWEST_BITS, 2):
        half = 2.0 ** (bits - 1)
        ends = (-half, half - 1) if low < 0 else (0.0, 2 * half - 1)
        if ends[0] <= low and high <= ends[1]:
            return ends
    raise AssertionError("unreachable")


def _of_floats(low: float, high: float) -> tuple[float, float]:
    for ends in FLOAT_RANGES:
        if ends[0] <= low and high <= ends[1] and max(abs(low), abs(high)) >= QUARTER * ends[1]:
            return ends
    return (low, high) if low < high else (low, low + 1)
