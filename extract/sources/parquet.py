"""Parquet files in the Hugging Face layout: a struct `image` of bytes and path, and a column `label`."""

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from icecore.store import Sample, UsageError

from ..columns import DEFAULT, Columns
from ..decoding import decode_image
from ..row_groups import RowGroups
from ..splits import SPLITS, file_splits
from ..tally import Tally
from ..targets import targets

EXPECTED = "expected Parquet files with a column image {bytes, path} and a column label"


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str  # below the root, without the extension
    split: str
    metadata: pq.FileMetaData
    schema: pa.Schema


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    sample: Sample
    values: tuple[Any, ...]


class ParquetSource:
    """The rows of one or many Parquet files in the order of files and rows; keys are `FILE/ROW-NAME`.

    Class names come from the schema (metadata `huggingface`); without them they are the labels themselves. Image bytes
    are read a row group at a time, when asked for. A label of -1 means that the row has none.
    """

    kind = "parquet"

    def __init__(self, path: str, columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        names = columns.label or ("label",)
        files = _open_files(Path(path), [*names, *filter(None, (columns.split, columns.group))])
        rows = [row for file in files for row in _rows(file, names, columns)]
        if not rows:
            raise UsageError(f"parquet {path!r}: has no rows; {EXPECTED}")
        known = _class_names(files[0].schema, names[0])
        if columns.target == "class":
            if len(names) > 1:
                raise UsageError(f"parquet {path!r}: {len(names)} label columns for one class; choose --target")
            self.classes = known or _names_of(rows)
            self.samples = tuple(replace(row.sample, label=_label(row, self.classes)) for row in rows)
        else:
            found = targets(columns.target, names, [row.values for row in rows], f"parquet {path!r}", known)
            self.classes = found.names
            self.samples = tuple(replace(r.sample, target=t) for r, t in zip(rows, found.of_rows, strict=True))
        self._images = RowGroups([(file.path, file.metadata) for file in files], "image.bytes")

    @staticmethod
    def recognises(path: Path) -> bool:
        """Say whether the path is a Parquet file, or a folder with such files in it or in a folder of it."""
        if path.is_file():
            return path.suffix == ".parquet"
        return any(path.glob("*.parquet")) or any(path.glob("*/*.parquet"))

    def read(self, row: int) -> bytes:
        """Return the image bytes of one row, empty where the row has none."""
        return self._images.read(row)

    def decode(self, data: bytes) -> Image.Image:
        """Return the RGB image of a row's bytes."""
        return decode_image(data)


def _open_files(root: Path, columns: Sequence[str]) -> list[_File]:
    if not root.exists():
        raise UsageError(f"parquet {str(root)!r}: no such file or folder; {EXPECTED}")
    paths = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    if not paths:
        raise UsageError(f"parquet {str(root)!r}: holds no .parquet files; {EXPECTED}")
    names = [path.relative_to(root.parent if root.is_file() else root).with_suffix("") for path in paths]
    splits = file_splits(names, str(root))
    return [
        _open(path, name.as_posix(), split, columns) for path, name, split in zip(paths, names, splits, strict=True)
    ]


def _open(path: Path, name: str, split: str, needed: Sequence[str]) -> _File:
    try:
        with pq.ParquetFile(path) as parquet:
            file = _File(path, name, split, parquet.metadata, parquet.schema_arrow)
    except pa.ArrowException as error:
        raise UsageError(f"{path}: is no readable Parquet file ({str(error).splitlines()[0]}); {EXPECTED}") from None
    image = [file.schema.field(name) for name in file.schema.names if name == "image"]
    inside = [field.name for column in image if pa.types.is_struct(column.type) for field in column.flatten()]
    if not set(needed) <= set(file.schema.names) or not {"image.bytes", "image.path"} <= set(inside):
        raise UsageError(f"{path}: has columns {file.schema.names}, not all of {list(needed)}; {EXPECTED}")
    return file


def _rows(file: _File, labels: Sequence[str], columns: Columns) -> Iterator[_Row]:
    """Yield every row of a file as a sample without label, and the values of its label columns."""
    wanted = [*labels, *filter(None, (columns.split, columns.group))]
    with pq.ParquetFile(file.path, metadata=file.metadata) as parquet:
        table = parquet.read(columns=["image.path", *wanted])
    paths = table.column("image").combine_chunks().field("path").to_pylist()
    values = zip(*(table.column(name).to_pylist() for name in labels), strict=True)
    splits = _texts(table, columns.split) or [file.split] * len(paths)
    groups = _texts(table, columns.group) or [None] * len(paths)
    for row, (path, value, split, group) in enumerate(zip(paths, values, splits, groups, strict=True)):
        if not split:
            raise UsageError(f"{file.path}: row {row} has no {columns.split}; expected train, test or validation")
        name = PurePosixPath((path or "").replace("\\", "/")).name
        key = f"{file.name}/{row:06d}{'-' if name else ''}{name}"
        yield _Row(f"{file.path}: row {row}", Sample(key, None, SPLITS.get(split.lower(), split), group), value)


def _texts(table: pa.Table, column: str | None) -> list[str | None]:
    if column is None:
        return []
    return [None if value is None else str(value) for value in table.column(column).to_pylist()]


def _class_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(column, {})
    inner = feature.get("feature", {}) if isinstance(feature, dict) else {}  # of a list of classes
    return tuple(feature.get("names") or inner.get("names") or ()) if isinstance(feature, dict) else ()


def _names_of(rows: Iterable[_Row]) -> tuple[str, ...]:
    """Return the class names that the labels themselves tell: numbers from 0 on, or the sorted texts."""
    known: set[int | str] = set()
    for row in rows:
        (label,) = row.values
        if label is not None and not isinstance(label, int | str):
            raise UsageError(f"{row.where} has label {label!r}; expected a class, or choose --target")
        known |= set() if label is None else {label}
    numbers = [label for label in known if isinstance(label, int)]
    if numbers:
        return tuple(map(str, range(max(numbers) + 1)))
    return tuple(sorted(map(str, known)))


def _label(row: _Row, classes: tuple[str, ...]) -> int | None:
    """Return the number of a row's class; None for -1 or nothing."""
    label = row.values[0]
    index = _number_of(classes).get(label, len(classes)) if isinstance(label, str) else label
    if index is None or index == -1:
        return None
    if not isinstance(index, int) or not 0 <= index < len(classes):
        raise UsageError(f"{row.where} has label {label!r}; expected one of {len(classes)} classes")
    return index


@functools.lru_cache(maxsize=1)
def _number_of(classes: tuple[str, ...]) -> dict[str, int]:
    return {name: index for index, name in enumerate(classes)}
