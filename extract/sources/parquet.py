"""Parquet files in the Hugging Face layout: a struct `image` of bytes and path, and a column `label`."""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding import decode_image
from ..row_groups import RowGroups
from ..splits import file_splits

EXPECTED = "expected Parquet files with a column image {bytes, path} and a column label"


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str  # below the root, without the extension
    split: str
    metadata: pq.FileMetaData
    schema: pa.Schema


class ParquetSource:
    """The rows of one or many Parquet files in the order of files and rows; keys are `FILE/ROW-NAME`.

    Class names come from the schema (metadata `huggingface`); without them they are the labels themselves. Image bytes
    are read a row group at a time, when asked for. A label of -1 means that the row has none.
    """

    kind = "parquet"

    def __init__(self, path: str) -> None:
        files = _open_files(Path(path))
        columns = [_columns(file) for file in files]
        labels = itertools.chain.from_iterable(labels for _, labels in columns)
        self.classes = _class_names(files[0].schema) or _names_of(labels)
        self.samples = tuple(
            sample
            for file, column in zip(files, columns, strict=True)
            for sample in _samples(file, *column, self.classes)
        )
        if not self.samples:
            raise UsageError(f"parquet {path!r}: has no rows; {EXPECTED}")
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


def _open_files(root: Path) -> list[_File]:
    if not root.exists():
        raise UsageError(f"parquet {str(root)!r}: no such file or folder; {EXPECTED}")
    paths = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    if not paths:
        raise UsageError(f"parquet {str(root)!r}: holds no .parquet files; {EXPECTED}")
    names = [path.relative_to(root.parent if root.is_file() else root).with_suffix("") for path in paths]
    splits = file_splits(names, str(root))
    return [_open(path, name.as_posix(), split) for path, name, split in zip(paths, names, splits, strict=True)]


def _open(path: Path, name: str, split: str) -> _File:
    try:
        with pq.ParquetFile(path) as parquet:
            file = _File(path, name, split, parquet.metadata, parquet.schema_arrow)
    except pa.ArrowException as error:
        raise UsageError(f"{path}: is no readable Parquet file ({str(error).splitlines()[0]}); {EXPECTED}") from None
    columns = [file.schema.field(name) for name in file.schema.names if name in ("image", "label")]
    inside = [field.name for column in columns if pa.types.is_struct(column.type) for field in column.flatten()]
    if len(columns) != 2 or not {"image.bytes", "image.path"} <= set(inside):
        raise UsageError(f"{path}: has columns {file.schema.names}; {EXPECTED}")
    return file


def _columns(file: _File) -> tuple[list[str | None], list[int | str | None]]:
    """Return the names of the images, and their labels."""
    with pq.ParquetFile(file.path, metadata=file.metadata) as parquet:
        table = parquet.read(columns=["image.path", "label"])
    return table.column("image").combine_chunks().field("path").to_pylist(), table.column("label").to_pylist()


def _class_names(schema: pa.Schema) -> tuple[str, ...]:
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    label = metadata.get("info", {}).get("features", {}).get("label", {})
    return tuple(label.get("names") or ())


def _names_of(labels: Iterable[int | str | None]) -> tuple[str, ...]:
    """Return the class names that the labels themselves tell: numbers from 0 on, or the sorted texts."""
    known = {label for label in labels if label is not None}
    numbers = [label for label in known if isinstance(label, int)]
    if numbers:
        return tuple(map(str, range(max(numbers) + 1)))
    return tuple(sorted(map(str, known)))


def _samples(
    file: _File, paths: list[str | None], labels: list[int | str | None], classes: tuple[str, ...]
) -> Iterator[Sample]:
    number = {name: index for index, name in enumerate(classes)}
    for row, (path, label) in enumerate(zip(paths, labels, strict=True)):
        index = number.get(label, len(classes)) if isinstance(label, str) else label
        index = None if index == -1 else index
        if index is not None and not 0 <= index < len(classes):
            raise UsageError(f"{file.path}: row {row} has label {label!r}; expected one of {len(classes)} classes")
        name = PurePosixPath((path or "").replace("\\", "/")).name
        yield Sample(f"{file.name}/{row:06d}{'-' if name else ''}{name}", index, file.split)
