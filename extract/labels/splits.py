"""Which split a folder or a file belongs to, by its name; knows nothing of what is inside.

A split's word counts wherever it stands between separators: `imagenet1k-validation-00.tar`, `2023_test.parquet`,
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
    """Return the split that the value of a column names; a word that is not known is a split of its own."""
    name = "" if value is None else str(value).strip()
    if not name:
        raise UsageError(f"{where}: no split; expected train, test or validation")
    return SPLITS.get(name.lower(), name)


def says_splits(values: Iterable[object]) -> bool:
    """Say whether some value of a column is a word for a split."""
    return any(str(value).strip().lower() in SPLITS for value in values)


def splits_in(name: str) -> list[str]:
    """Return the splits that a name has words for, each once; words part at all but letters, and before capitals."""
    cased = "".join(letter if letter.lower() != letter.upper() else " " for letter in name)  # no digits, no kanji
    words = cased.split()
    parts = [part for word in words for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", word)]
    return list(dict.fromkeys(WORDS[part.lower()] for part in [*words, *parts] if part.lower() in WORDS))


def is_split(name: str) -> bool:
    """Say whether a name says nothing but a split: `test`, `Val`, `split=test`."""
    return name.lower().removeprefix("split=") in WORDS


def split_of(name: str, where: str) -> str | None:
    """Return the one split that a name, or a path, has a word for; UsageError where it has words for two."""
    found = splits_in(name)
    if len(found) > 1:
        raise UsageError(f"{where}: {name!r} names the split {found[0]!r} and {found[1]!r} too; {RENAME}")
    return found[0] if found else None


def file_splits(files: Sequence[PurePath], where: str) -> list[str]:
    """Return the split of each file by its name and its folders' names; all are train where none names one.

    Raises:
        UsageError: some files name a split and others none, or one names two.
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
    """Return the split of each folder by its name; empty where the folders are classes.

    Args:
        folders: names, and whether images lie directly in the folder, as they do in that of a class.
        where: whose folders they are.

    Raises:
        UsageError: some names have a split's word and others none, or a name has two. A class may be called after
            `train` where its neighbours are plainly classes: nothing is tested by mistake then.
    """
    words = {name: splits_in(name) for name in folders}
    named = [name for name in folders if words[name]]
    if not named:
        return {}
    found = {split for name in named for split in words[name]}
    if found == {"train"} and len(folders) > 1 and all(folders.values()):
        return {}
    bare = [name for name in folders if not words[name]]
    if bare:
        raise UsageError(
            f"{where}: {bare[0]!r} is no split, but its neighbours are ({named[0]!r}); {RENAME}, or put the folders of "
            "classes below train/"
        )
    return {name: split_of(name, where) or "" for name in folders}


def require_no_split(parts: Iterable[str], split: str, path: str, where: str) -> None:
    """Refuse folders below a class that are called after another split than the one that the image would have."""
    for part in parts:
        if is_split(part) and splits_in(part) != [split]:
            raise UsageError(
                f"{where}: {path!r} would be in split {split!r}, and lies in {part!r}; put the folders of the splits "
                "above those of the classes, or rename it"
            )
