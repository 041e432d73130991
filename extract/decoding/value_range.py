"""Chooses the values that become black and white, for images of more than 8 bits. Knows nothing of files."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "float"]

QUARTER = 0.25  # a data set that uses less than this fraction of a range has another range
FLOAT_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0))
FEWEST_BITS = 8


@dataclass(frozen=True, slots=True)
class Extent:
    """The smallest and the largest value of one image, of kind `int` or `float`."""

    kind: Kind
    low: float
    high: float


def fitting_ranges(extents: Iterable[Extent]) -> dict[Kind, tuple[float, float]]:
    """Return the values of black and white for each kind, from the extents of all images together.

    >>> fitting_ranges([Extent("int", 12.0, 900.0), Extent("int", 0.0, 4000.0)])
    {'int': (0.0, 4095.0)}

    One range serves all images, so that differences of brightness between images remain. Integers get the range of the
    fewest bits (an even number from 8) that holds all values, signed where a value is negative. Floats get the first of
    0 to 1, -1 to 1, 0 to 255 and 0 to 65,535 that holds all values and of which they use a quarter, else their own
    smallest and largest value.
    """
    limits: dict[Kind, tuple[float, float]] = {}
    for extent in extents:
        low, high = limits.get(extent.kind, (math.inf, -math.inf))
        limits[extent.kind] = min(low, extent.low), max(high, extent.high)
    return {kind: _of_ints(*ends) if kind == "int" else _of_floats(*ends) for kind, ends in sorted(limits.items())}


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
