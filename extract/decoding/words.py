"""Parses the rules of decoding as users write them, in a command or in a pipeline."""

import math
from collections.abc import Sequence
from typing import Any

COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}


def read_range(given: Any) -> Any:
    """Return `auto`, `type`, or the numbers LOW and HIGH; ValueError for anything else."""
    name = _alone(given)
    if name in ("auto", "type"):
        return name
    limits = _numbers(given, float)
    if len(limits) != 2 or not all(map(math.isfinite, limits)) or not limits[0] < limits[1]:
        raise ValueError("expected auto, type, or two numbers LOW,HIGH such as 0,4095")
    return limits


def read_background(given: Any) -> Any:
    """Return red, green and blue, 0 to 255 each, or None for None; ValueError for anything else."""
    name = _alone(given)
    if given is None:
        return None
    if name is not None and name in COLOURS:
        return COLOURS[name]
    colour = _numbers(given, int)
    if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
        raise ValueError("expected white, black, or three numbers R,G,B from 0 to 255")
    return colour


def read_bands(given: Any) -> Any:
    """Return one or three band numbers, counted from 1, or None for None; ValueError for anything else."""
    if given is None:
        return None
    bands = _numbers(given, int)
    if len(bands) not in (1, 3) or min(bands) < 1:
        raise ValueError("expected one or three numbers of bands, counted from 1, such as 4,3,2")
    return bands


def _alone(given: Any) -> str | None:
    """Return a single word, alone or as the one element of a list; None for anything else."""
    word = given[0] if isinstance(given, list | tuple) and len(given) == 1 else given
    return word if isinstance(word, str) else None


def _numbers(given: Any, kind: type[int] | type[float]) -> tuple[Any, ...]:
    """Return the numbers of a text with commas, a list or a single number; none for anything else."""
    parts = given.split(",") if isinstance(given, str) else given if isinstance(given, Sequence) else [given]
    try:
        return tuple(kind(part) for part in parts)
    except (TypeError, ValueError):
        return ()
