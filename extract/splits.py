"""Which split a folder or file belongs to, by its name; knows nothing of what is inside."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from icecore.store import UsageError

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


def split_named(name: str) -> str | None:
    """Return the split that a name starts with, as in `train`, `val.parquet` or `test-0001.tar`."""
    word = re.match(r"[a-z]+", name.lower())
    return SPLITS.get(word[0]) if word else None


def file_splits(files: Sequence[PurePath], where: str) -> list[str]:
    """Return the split of each file by its name, else by its folders' names; all are train where none names one."""
    splits = [next(filter(None, map(split_named, reversed(file.parts))), None) for file in files]
    if not any(splits):
        return ["train"] * len(splits)
    for file, split in zip(files, splits, strict=True):
        if split is None:
            raise UsageError(
                f"{where}: {str(file)!r} names no split where others do; expected a name that starts with "
                "train, test or validation"
            )
    return [split for split in splits if split]
