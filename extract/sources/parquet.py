"""The source `parquet:`, in the Hugging Face layout: a struct `image` of bytes and path, and a column `label`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding.decode import decode_image
from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.row_groups import RowGroups
from ..files.tally import Tally
from ..files.walk import files_below, readable
from ..labels.cells import Cells
from ..labels.class_names import common_classes
from ..labels.columns import DEFAULT, Columns
from ..labels.labels import read_labels
from ..labels.splits import column_split, file_splits, says_splits, split_of

EXPECTED = "expected Parquet files with a column image ({bytes, path}, or plain bytes) and a column label"


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str  # below the root, without the extension
    split: str
    metadata: pq.FileMetaData
    schema: pa.Schema
    image: str  # the column of images
    is_plain: bool  # the column holds bytes alone, not a struct of bytes and path

    @property
    def bytes_column(self) -> str:
        """The dotted name of the column that holds the images' bytes."""
        return self.image if self.is_plain else f"{self.image}.bytes"


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    sample: Sample
    values: tuple[Any, ...]


class ParquetSource:
    """The rows of one or many Parquet files in the order of files and rows; keys are `FILE/ROW-NAME`.

    Class names come from the schema (metadata `huggingface`) of any file, else from the labels themselves. Image bytes
    are read a row group at a time, on demand. A label of -1 means no label.
    """

    kind = "parquet"

    def __init__(self, path: str, columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        names, where = columns.label or ("label",), f"parquet {path!r}"
        files = _open_files(Path(path), columns, self.tally)
        class_names = [_class_names(file.schema, names[0]) for file in files]
        known, numbers = common_classes(class_names, where, self.tally)
        rows = [
            row if number is None else replace(row, values=tuple(_renumbered(value, number) for value in row.values))
            for file, number in zip(files, numbers, strict=True)
            for row in _rows(file, names, columns)
        ]
        if not rows:
            raise UsageError(f"{where}: has no rows; {EXPECTED}")
        values, places = [row.values for row in rows], [row.where for row in rows]
        cells = Cells(names, values, where, places.__getitem__, numeric_texts=False)
        found = read_labels(cells, columns, self.tally, known)
        self.classes = found.classes
        labelled = zip(rows, found.labels, found.targets, strict=True)
        self.samples = tuple(replace(row.sample, label=label, target=target) for row, label, target in labelled)
        self._images = RowGroups([(file.path, file.metadata) for file in files], files[0].bytes_column)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return whether the path is a Parquet file, or a folder with such files at most one folder below."""
        if path.is_file():
            return path.suffix == ".parquet"
        return any(path.glob("*.parquet")) or any(path.glob("*/*.parquet"))

    def read(self, row: int) -> bytes:
        """Return the image bytes of one row, empty where the row has none."""
        return self._images.read(row)

    def decode(self, data: bytes, rules: Decoding | None = RULES) -> Image.Image:
        """Return the RGB image of a row's bytes."""
        return decode_image(data, rules)


def _open_files(root: Path, columns: Columns, tally: Tally) -> list[_File]:
    if not root.exists():
        raise UsageError(f"parquet {str(root)!r}: no such file or folder; {EXPECTED}")
    base = root.parent if root.is_file() else root
    found = [root.name] if root.is_file() else files_below(root, (".parquet",), tally)
    if not found:
        raise UsageError(f"parquet {str(root)!r}: holds no .parquet files; {EXPECTED}")
    names = [PurePosixPath(readable(file)).with_suffix("") for file in found]
    splits = ["train"] * len(names) if columns.split else file_splits(names, str(root))
    needed = [*(columns.label or ("label",)), *filter(None, (columns.split, columns.group))]
    files = [
        _open(base / file, name.as_posix(), split, needed)
        for file, name, split in zip(found, names, splits, strict=True)
    ]
    if len({file.bytes_column for file in files}) > 1:
        several = sorted({file.bytes_column for file in files})
        raise UsageError(f"parquet {str(root)!r}: images are in columns {several}; {EXPECTED}")
    return files


def _open(path: Path, name: str, split: str, needed: Sequence[str]) -> _File:
    try:
        with pq.ParquetFile(path) as parquet:
            metadata, schema = parquet.metadata, parquet.schema_arrow
    except pa.ArrowException as error:
        raise UsageError(f"{path}: is no readable Parquet file ({str(error).splitlines()[0]}); {EXPECTED}") from None
    images = {field.name: _is_bytes(field) for field in schema if _is_bytes(field) or _is_image(field)}
    image = "image" if "image" in images or len(images) != 1 else next(iter(images))
    if image not in images:
        raise UsageError(f"{path}: has columns {schema.names}, none of them of images; {EXPECTED}")
    if missing := [column for column in needed if column not in schema.names]:
        raise UsageError(f"{path}: has columns {schema.names}, not all of {missing}; {EXPECTED}")
    return _File(path, name, split, metadata, schema, image, images[image])


def _is_image(field: pa.Field) -> bool:
    return pa.types.is_struct(field.type) and {"bytes", "path"} <= {inside.name for inside in field.type}


def _is_bytes(field: pa.Field) -> bool:
    return pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)


def _rows(file: _File, labels: Sequence[str], columns: Columns) -> Iterator[_Row]:
    """Yield every row of a file: a sample without label, and the values of its label columns."""
    split = columns.split or ("split" if "split" in file.schema.names else None)
    wanted = dict.fromkeys([*labels, *filter(None, (split, columns.group))])
    with pq.ParquetFile(file.path, metadata=file.metadata) as parquet:
        table = parquet.read(columns=[*([] if file.is_plain else [f"{file.image}.path"]), *wanted])
    paths = [None] * len(table)
    if not file.is_plain:
        paths = table.column(file.image).combine_chunks().field("path").to_pylist()
    values = zip(*(table.column(name).to_pylist() for name in labels), strict=True)
    splits = _splits(file, table, split, asked=columns.split is not None)
    groups = _texts(table, columns.group)
    for row, (path, value, said, group) in enumerate(zip(paths, values, splits, groups, strict=True)):
        name = PurePosixPath((path or "").replace("\\", "/")).name
        key = f"{file.name}/{row:06d}{'-' if name else ''}{name}"
        yield _Row(f"{file.path}: row {row}", Sample(key, None, said, group), value)


def _splits(file: _File, table: pa.Table, column: str | None, asked: bool) -> list[str]:
    """Return the split of every row: of the column asked for, of one called `split` that names splits, of the file."""
    said = _texts(table, column)
    if not asked and not says_splits(said):
        return [file.split] * len(said)
    found = [column_split(value, f"{file.path}: row {row}, column {column!r}") for row, value in enumerate(said)]
    named = split_of(file.name, str(file.path))
    if not asked and named and set(found) != {named}:
        other = next(split for split in found if split != named)
        raise UsageError(
            f"{file.path}: is named {named!r}, and its column 'split' says {other!r}; say which: --split-column split, "
            "or rename one of the two"
        )
    return found


def _texts(table: pa.Table, column: str | None) -> list[str | None]:
    if column is None:
        return [None] * len(table)
    return [None if value is None else str(value) for value in table.column(column).to_pylist()]


def _class_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """Return the class names in the metadata of a file; empty where it has none."""
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(column, {})
    inner = feature.get("feature", {}) if isinstance(feature, dict) else {}  # where the column holds lists of classes
    return tuple(feature.get("names") or inner.get("names") or ()) if isinstance(feature, dict) else ()


def _renumbered(value: Any, number: Sequence[int]) -> Any:
    """Return a class number of one file, or a list of them, as numbers among the classes of all files."""
    if isinstance(value, list):
        return [_renumbered(part, number) for part in value]
    if not isinstance(value, int) or not 0 <= value < len(number):
        return value
    return number[value]
