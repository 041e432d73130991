"""Moves a part of one split into a new split: `--split NAME=FROM:PERCENT`, such as `validation=train:10%`.

A hash of a row's group, or of its key where it has no group, decides whether the row moves. So whole groups move, new
rows do not change the split of others, and the percentage is met on average, not exactly.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from icecore.store import Sample, UsageError

PATTERN = re.compile(r"([A-Za-z]\w*)=([A-Za-z]\w*):(\d+(?:\.\d+)?)%")


def move_splits(samples: Sequence[Sample], moves: Sequence[str]) -> list[Sample]:
    """Return the samples after all moves, in order; each move takes from the result of the moves before.

    Raises:
        UsageError: a move cannot be read, its splits do not fit the source, or it leaves a split empty.
    """
    moved = list(samples)
    for move in moves:
        match = PATTERN.fullmatch(move.strip())
        if match is None or not 0 < float(match[3]) < 100:
            raise UsageError(f"split {move!r}: expected NAME=FROM:PERCENT, such as validation=train:10%")
        moved = _moved(moved, match[1], match[2], float(match[3]) / 100)
    return moved


def _moved(samples: Sequence[Sample], name: str, source: str, share: float) -> list[Sample]:
    splits = {sample.split for sample in samples}
    if source not in splits or name in splits:
        wrong = f"there is no split {source!r}" if source not in splits else f"there is a split {name!r} already"
        raise UsageError(f"split {name}={source}: {wrong}; the source has {', '.join(sorted(splits))}")
    moved = [
        replace(sample, split=name) if sample.split == source and _position(sample, name) < share else sample
        for sample in samples
    ]
    if not {name, source} <= {sample.split for sample in moved}:
        raise UsageError(f"split {name}={source}: leaves one of the two empty; choose another share")
    return moved


def _position(sample: Sample, name: str) -> float:
    """Return a pseudo-random number from 0 to 1 for the group of a row."""
    unit = sample.key if sample.group is None else sample.group
    digest = hashlib.sha256(f"{name}\0{unit}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
