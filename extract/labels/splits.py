"""Finds the split of a folder, a file or a row by the words for splits in names; reads no files.

A word for a split counts wherever it stands between separators: `imagenet1k-validation-00.tar`, `2023_test.parquet`,
`flowers_test/`, `split=test/`, `testB/`. The words are those of Hugging Face `datasets`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from icecore.store import UsageError

SPLITS = {  # the values of a column
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
WORDS = SPLITS | {  # in the names of files and folders
    "trainval": "train",
    "eval": "test",
    "evaluation": "test",
    "dev": "validation",
}
RENAME = "expected one split's word in every name, or in none; rename what differs"


def column_split(value: object, where: str) -> str:
    """Return the split that a value of a column names; any other word names a split of its own.

    >>> column_split("Val", where="line 2"), column_split("holdout", where="line 3")
    ('validation', 'holdout')

    Raises:
        UsageError: the value is empty.
    """
    name = "" if value is None else str(value).strip()
    if not name:
        raise UsageError(f"{where}: no split; expected train, test or validation")
    return SPLITS.get(name.lower(), name)


def says_splits(values: Iterable[object]) -> bool:
    """Return whether any value of a column is a word for a split."""
    return any(str(value).strip().lower() in SPLITS for value in values)


def splits_in(name: str) -> list[str]:
    """Return the splits whose words occur in a name, each once; words end at non-letters and before capitals.

    >>> splits_in("imagenet1k-validation-00.tar"), splits_in("testB"), splits_in("contest")
    (['validation'], ['test'], [])
    """
    cased = "".join(letter if letter.lower() != letter.upper() else " " for letter in name)  # no digits, no kanji
    words = cased.split()
    parts = [part for word in words for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", word)]
    return list(dict.fromkeys(WORDS[part.lower()] for part in [*words, *parts] if part.lower() in WORDS))


def is_split(name: str) -> bool:
    """Return whether a name is a word for a split and nothing else: `test`, `Val`, `split=test`."""
    return name.lower().removeprefix("split=") in WORDS


def split_of(name: str, where: str) -> str | None:
    """Return the split that a name or path has a word for, else None; UsageError where it names two splits."""
    splits = splits_in(name)
    if len(splits) > 1:
        raise UsageError(f"{where}: {name!r} names the split {splits[0]!r} and {splits[1]!r} too; {RENAME}")
    return splits[0] if splits else None


def file_splits(files: Sequence[PurePath], where: str) -> list[str]:
    """Return the split of each file by its name and the names of its folders; train for all where no name has a split.

    Raises:
        UsageError: some files name a split and others do not, or a file names two.
    """
    splits = {file: split_of(file.as_posix(), where) for file in files}
    named = [file for file, split in splits.items() if split]
    bare = [file for file, split in splits.items() if split is None]
    if named and bare:
        raise UsageError(
            f"{where}: {bare[0].as_posix()!r} names no split where {named[0].as_posix()!r} names "
            f"{splits[named[0]]!r}; {RENAME}"
        )
    return [splits[file] or "train" for file in files]


def folder_splits(folders: Mapping[str, bool], where: str) -> dict[str, str]:
    """Return the split of each folder by its name; an empty mapping where the folders are classes.

    Args:
        folders: by name, whether images lie directly in the folder, as in the folder of a class.
        where: names the source in error messages.

    Raises:
        UsageError: some names have a word for a split and others do not, or a name has two. A class may be named after
            `train` beside other classes, because no image becomes test by mistake then.
    """
    words = {name: splits_in(name) for name in folders}
    named = [name for name in folders if words[name]]
    if not named:
        return {}
    splits = {split for name in named for split in words[name]}
    if splits == {"train"} and len(folders) > 1 and all(folders.values()):
        return {}
    bare = [name for name in folders if not words[name]]
    if bare:
        raise UsageError(
            f"{where}: {bare[0]!r} is no split, but its neighbours are ({named[0]!r}); {RENAME}, or put the folders of "
            "classes below train/"
        )
    return {name: split_of(name, where) or "" for name in folders}


def require_no_split(parts: Iterable[str], split: str, path: str, where: str) -> None:
    """Raise UsageError where a folder below a class is named after another split than the image's own."""
    for part in parts:
        if is_split(part) and splits_in(part) != [split]:
            raise UsageError(
                f"{where}: {path!r} would be in split {split!r}, and lies in {part!r}; put the folders of the splits "
                "above those of the classes, or rename it"
            )
