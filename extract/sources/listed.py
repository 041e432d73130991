"""Turns the lines of a manifest into samples; shared by the sources `csv:` and `imagefolder:`."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from icecore.store import Sample, UsageError

from ..files.manifest import Line
from ..files.passing import AbsentError
from ..files.tally import Tally
from ..files.walk import images_below, readable
from ..labels.cells import Cells
from ..labels.columns import Columns
from ..labels.labels import read_labels


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a manifest, with the key and the split of its image."""

    line: Line
    key: str
    split: str


def key_of(path: str, folder: Path, where: str) -> str:
    """Return the key of an image: its path relative to a folder.

    >>> key_of("cat/1.jpg", Path("photos"), where="list.csv, line 2")
    'cat/1.jpg'

    Args:
        path: relative to the folder, absolute, or beginning with `~`.
        folder: of the manifest.
        where: names the line in the error message.

    Raises:
        UsageError: the path leads out of the folder.
    """
    full = os.path.expanduser(path)  # noqa: PTH111  pathlib would change a path without ~
    if PurePosixPath(full).is_absolute():
        for base in (folder.absolute(), folder.resolve()):
            if PurePosixPath(full).is_relative_to(base) and PurePosixPath(full) != base:
                full = PurePosixPath(full).relative_to(base).as_posix()
                break
    parsed = PurePosixPath(full)
    if not path or parsed.is_absolute() or ".." in parsed.parts or "\\" in full or "\0" in full:
        raise UsageError(
            f"{where}: path {path!r}; expected one relative to the manifest, with '/', without '..', or a whole path "
            f"below {folder}; move the manifest above the images"
        )
    return full


def completed(keys: Sequence[str], folder: Path, lines: Sequence[Line], tally: Tally) -> list[str]:
    """Return keys with their missing folder or ending added, where the first key is no file.

    A key that matches no image stays unchanged, and its image will be recorded as absent.

    Raises:
        UsageError: a key matches several images.
    """
    if not keys or (folder / keys[0]).is_file():
        return list(keys)
    images: dict[str, list[str]] = {}
    for file in map(readable, images_below(folder, Tally())):
        for name in {PurePosixPath(file).name, PurePosixPath(file).stem}:
            images.setdefault(name, []).append(file)
    return [_completed(key, images, line, tally) for key, line in zip(keys, lines, strict=True)]


def _completed(key: str, images: Mapping[str, list[str]], line: Line, tally: Tally) -> str:
    near = images.get(PurePosixPath(key).name, [])
    found = [file for file in near if f"/{file}".endswith(f"/{key}") or _without_ending(file).endswith(f"/{key}")]
    if len(found) > 1:
        raise UsageError(f"{line.where}: path {key!r} may be {found[0]!r} or {found[1]!r}; write the whole path")
    if found and found != [key]:
        tally.note("paths that lacked a folder or an ending, completed", f"{key} -> {found[0]}")
    return found[0] if found else key


def _without_ending(file: str) -> str:
    return f"/{PurePosixPath(file).with_suffix('').as_posix()}"


def read_listed(path: Path) -> bytes:
    """Return the bytes of a listed file; AbsentError where its folder exists and the file does not."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.parent.is_dir():
            raise AbsentError(f"no such file: {path}") from None
        raise


def require_once(listed: Iterable[Listed], labels: Sequence[str]) -> None:
    """Raise UsageError where an image is listed twice, in any spelling of its path."""
    seen: dict[str, Line] = {}
    for image in listed:
        name = PurePosixPath(image.key).as_posix()
        first = seen.setdefault(name, image.line)
        if first is not image.line:
            pairs = [(first.fields[label], image.line.fields[label]) for label in labels]
            said = next((f" as {old!r}, now as {new!r}" for old, new in pairs if old != new), "")
            where = first.where.rpartition(", ")[2]
            raise UsageError(
                f"{image.line.where}: {image.key!r} is listed twice, first in {where}{said}; keep one line"
            )


def samples_of(
    listed: Sequence[Listed], columns: Columns, where: str, tally: Tally
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return the samples of listed images, in order, and the names of the classes.

    Raises:
        UsageError: a label cannot be read, with its line.
    """
    labels, group = columns.label or ("label",), columns.group or "group"
    rows = [[image.line.fields[name] for name in labels] for image in listed]
    found = read_labels(Cells(labels, rows, where, lambda row: listed[row].line.where), columns, tally)
    samples = [Sample(image.key, None, image.split, _text(image.line.fields.get(group))) for image in listed]
    labelled = zip(samples, found.labels, found.targets, strict=True)
    return tuple(replace(sample, label=label, target=target) for sample, label, target in labelled), found.classes


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)
