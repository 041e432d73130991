"""Kinds of data sets, one a file, behind one contract: `Source`.

A source knows the order of its samples, their keys, labels and splits, and reads the bytes of a sample. It knows
nothing of backbones and stores. To add a kind: one file here and one line in
`SOURCES`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from PIL import Image

from icecore.store import Sample, UsageError, choose

from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.tally import Tally
from ..files.video_files import require_images, require_no_clips
from ..labels.columns import DEFAULT, Columns
from ..labels.splits import is_split, splits_in
from .csv import CsvSource
from .folder import FolderSource
from .imagefolder import ImageFolderSource
from .parquet import ParquetSource
from .shapes import ShapesSource
from .sklearn import SklearnSource
from .timm import TimmSource
from .wds import WdsSource


@runtime_checkable
class Source(Protocol):
    """The contract of an open data set; the order of its samples never changes."""

    kind: str
    classes: tuple[str, ...]  # names by label; for multilabel and regression, names of the target's numbers
    tally: Tally  # counts of files left out, and notes for the user
    samples: Sequence[Sample]  # sha256 is empty; width and height are set where the bytes do not hold them

    def read(self, row: int) -> bytes:
        """Return the source bytes of a sample; threads may call it.

        Raises:
            AbsentError: the sample is listed but does not exist.
            Exception: of any other type, where reading fails for a temporary reason.
        """
        ...

    def decode(self, data: bytes, rules: Decoding | None = RULES) -> Image.Image:
        """Return the RGB image of source bytes; any exception means that they hold no image."""
        ...


@runtime_checkable
class SourceKind(Protocol):
    """The contract of a kind of source: opens a data set, and recognises paths of its kind."""

    def __call__(self, path: str, columns: Columns, /) -> Source:
        """Open the data set at `path`, the text after `KIND:`.

        Raises:
            UsageError: it is no data set of this kind, or holds no images.
        """
        ...

    def recognises(self, path: Path, /) -> bool:
        """Return whether an existing path is plainly of this kind."""
        ...


SOURCES: dict[str, SourceKind] = {
    "folder": FolderSource,
    "parquet": ParquetSource,
    "wds": WdsSource,
    "csv": CsvSource,
    "imagefolder": ImageFolderSource,
    "sklearn": SklearnSource,
    "shapes": ShapesSource,
    "timm": TimmSource,
}
WITH_COLUMNS = ("parquet", "wds", "csv", "imagefolder")  # the other kinds have no columns
WITH_PATHS = ("csv", "imagefolder")


def open_source(text: str, columns: Columns = DEFAULT) -> Source:
    """Open `KIND:PATH`, or a path whose kind is plain from its content.

    >>> source = open_source("shapes:count:10")
    >>> len(source.samples), source.classes[:2], source.samples[0].split
    (10, ('1', '2'), 'train')

    Raises:
        UsageError: the text names no source, the source holds no images or holds videos, or its kind has no columns
            for those given.
    """
    name, path = _kind_and_path(text)
    kind = choose(SOURCES, name, "source kind")
    if columns.given and name not in WITH_COLUMNS:
        able = ", ".join(WITH_COLUMNS)
        raise UsageError(f"source {text!r}: has no columns for {columns.given[0]}; kinds that have: {able}")
    if columns.path and name not in WITH_PATHS:
        raise UsageError(
            f"source {text!r}: has no column of paths for --path-column; kinds that have: {', '.join(WITH_PATHS)}"
        )
    try:
        opened = kind(path, columns)
    except UsageError:
        require_images(Path(path), f"source {text!r}")
        raise
    require_no_clips((sample.key for sample in opened.samples), f"source {text!r}")
    _note_name(opened, Path(path))
    return opened


def _note_name(opened: Source, path: Path) -> None:
    """Note a folder named after a split other than train that is read as train: only names within it count."""
    if path.is_dir() and is_split(path.name) and splits_in(path.name) != ["train"]:
        rows = [sample.key for sample in opened.samples if sample.split == "train"]
        if rows:
            opened.tally.note(f"rows of train in a folder called {path.name!r}", rows[0], len(rows))


def _kind_and_path(text: str) -> tuple[str, str]:
    path = Path(text)
    if path.exists():
        return _kind_of(path), text
    kind = re.match(r"([A-Za-z][\w-]*):", text)
    if kind is None:
        raise UsageError(f"source {text!r}: no such file or folder; expected KIND:PATH, {_kinds()}")
    return kind[1], text[kind.end() :]


def _kind_of(path: Path) -> str:
    kinds = [name for name, kind in SOURCES.items() if kind.recognises(path)]
    if "imagefolder" in kinds:  # a folder with metadata also looks like a plain folder
        kinds = [name for name in kinds if name != "folder"]
    if len(kinds) == 1:
        return kinds[0]
    if not kinds:
        require_images(path, f"source {str(path)!r}")
    seems = f"could be {' or '.join(kinds)}" if kinds else "looks like no kind of source, or holds no image"
    raise UsageError(f"source {str(path)!r}: {seems}; expected KIND:PATH, {_kinds()}")


def _kinds() -> str:
    return f"kinds: {', '.join(SOURCES)}"
