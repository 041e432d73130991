"""Row numbers as text: `0-8,12,20-31`. Short where rows lie together, as those of a split do."""

import numpy as np
from jaxtyping import Int64

Rows = Int64[np.ndarray, " row"]


def to_ranges(rows: Rows) -> str:
    """Return ascending row numbers as text.

    >>> to_ranges(np.array([0, 1, 2, 7, 9, 10]))
    '0-2,7,9-10'
    """
    parts = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else []
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def from_ranges(text: str) -> Rows:
    """Return the row numbers that `to_ranges` wrote as text.

    >>> from_ranges("0-2,7")
    array([0, 1, 2, 7])
    """
    ends = [part.partition("-") for part in text.split(",") if part]
    parts = [np.arange(int(low), int(high or low) + 1) for low, _, high in ends]
    return np.concatenate([np.arange(0), *parts])
