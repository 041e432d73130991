"""Checks of an output folder or file before anything is written: new, empty, made by icecore, or somebody else's.

A folder is recognised as icecore's by the content of its documents, never by file names alone. So every writer can
refuse any other folder before it creates or deletes a single file there.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UsageError
from .location import Location, open_location
from .lock import is_signature

Kind = Literal["store", "run", "bundle", "study"]
Contents = Literal["new", "empty", "unfinished", "other"] | Kind


@dataclass(frozen=True, slots=True)
class _Marks:
    """How to recognise a kind of folder: it holds one of the documents (file: text in the file)."""

    words: str
    documents: Mapping[str, bytes]


KINDS: dict[Kind, _Marks] = {
    "store": _Marks("a store", {"zarr.json": b'"icecore"', "icecore.json": b'"icecore"'}),
    "run": _Marks("a RUN", {"run.json": b'"identity_sha256"', "ledger/store.json": b'"identity_sha256"'}),
    "bundle": _Marks("a bundle", {"bundle.json": b'"backbone_config"'}),
    "study": _Marks(
        "a comparison",
        {
            "comparison.json": b'"score_name"',
            "intrinsic_dimension.json": b'"dimensions"',
            "training/ledger/store.json": b'"identity_sha256"',
            "rows.ice/zarr.json": b'"icecore"',
            "rows.ice/icecore.json": b'"icecore"',
        },
    ),
}

# Files that a writer killed before its first document leaves behind: the lock and unfinished files.
_LEFT = re.compile(r"(?:(?:training/)?ledger/|rows\.ice/)?(?:lock|partial/[0-9a-f]{32}|\.store\.json\.[0-9a-f]{8})")
_LEFT_TOP = {"lock", "partial", "ledger", "training", "rows.ice"}
_SYSTEM = {".DS_Store", "lost+found"}  # present in folders that users consider empty


def require_destination(url: str, kind: Kind) -> None:
    """Check that an output folder is new, empty, or of the kind that is to be written; change nothing.

    Every command that writes a folder calls this first, before it takes the lock. `run` is the output of `train`,
    `study` that of `compare` and `intrinsic`. Remains of a first write that was killed count as empty.

    Raises:
        UsageError: the folder holds something else, is a file, or cannot be read; the message says which.

    Example:
        >>> require_destination("runs/photos", "run")  # a new folder
    """
    present = contents(url)
    if present not in ("new", "empty", "unfinished", kind):
        held = KINDS[present].words if present in KINDS else "files that icecore did not write"
        raise UsageError(
            f"{url}: holds {held}, expected a new or an empty folder, or {KINDS[kind].words}; choose another place"
        )


def require_file(path: Path, is_ours: Callable[[Path], bool], words: str) -> None:
    """Check that an output file is new, empty, or was written by the same command; change nothing.

    Every command that writes a file to a path from the user calls this before any work. `words` name the kind of file,
    such as "a page of icecore report"; `is_ours` says whether an existing file is of this kind.

    Raises:
        UsageError: its folder is missing or lies in a store, another file is in its place, or it cannot be read.
    """
    _require_unicode(str(path))
    try:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, expected the name of a file; choose another place")
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {str(path.parent)!r}; make it or choose another place")
        if path.exists() and not (path.is_file() and (path.stat().st_size == 0 or is_ours(path))):
            raise UsageError(f"{path}: is there already and not {words}; remove it or choose another place")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}); choose another place") from None
    if any(contents(str(folder)) == "store" for folder in path.absolute().parents):
        raise UsageError(f"{path}: lies in a store, where nothing else is kept; choose another place")


def contents(url: str) -> Contents:
    """Return the kind of a folder at a path or fsspec URL; `unfinished`: only remains of a first write, killed."""
    _require_unicode(url)
    location = open_location(url)
    try:
        names = location.entries()
        if names is None:
            return "new"
        return _contents(location, set(names) - _SYSTEM)
    except NotADirectoryError:
        raise UsageError(f"{url}: is a file or lies below one, expected a folder; choose another place") from None
    except OSError as error:
        raise UsageError(f"{url}: cannot be read ({error.strerror or error}); choose another place") from None


def _contents(location: Location, names: set[str]) -> Contents:
    if not names:
        return "empty"
    for kind, marks in KINDS.items():
        if any(_holds(location, names, file, text) for file, text in marks.documents.items()):
            return kind
    return "unfinished" if names <= _LEFT_TOP and _is_left_behind(location) else "other"


def _holds(location: Location, names: set[str], file: str, text: bytes) -> bool:
    if file.partition("/")[0] not in names:
        return False
    try:
        return text in location.read(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False


def _is_left_behind(location: Location) -> bool:
    return all(
        _LEFT.fullmatch(name) and (not name.endswith("lock") or is_signature(location.read(name)))
        for name in location.sizes()
    )


def _require_unicode(url: str) -> None:
    try:
        url.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{url!a}: is not valid UTF-8, expected a name that is; choose another place") from None
