"""Images to predict: from files, folders, tars, Parquet, or paths on standard input.

Labels and splits are not needed. Images are read lazily. Files that are not images are skipped and counted, as
`extract` does; images are not decoded here.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from icecore.extract.decoding import EXTENSIONS
from icecore.extract.files import (
    Archives,
    Tally,
    archives_of,
    images_below,
    is_archive,
    passed_over,
    require_images,
    require_no_clips,
)
from icecore.store import UsageError

Image = bytes | str | Path
STANDARD_INPUT = "-"
BATCH_ROWS = 64  # rows read from a Parquet file at once


def images_of(given: str, tally: Tally) -> Iterator[tuple[str, Image]]:
    """Return (key, encoded bytes or path) of every image at `given`: a file, folder, tar or Parquet path, or `-`.

    The result is lazy. `tally` counts skipped files.

    Raises:
        UsageError: `given` does not exist or holds no image; for a tar or Parquet file, on iteration.
    """
    path = Path(given)
    if given == STANDARD_INPUT:
        return ((readable(name), Path(name)) for name in _lines())
    if path.is_dir():
        return iter(_in_folder(path, tally))
    require_no_clips([given], "predict")
    if not path.is_file():
        raise UsageError(
            f"no image at {given!r}: expected a file or a folder of images, a .tar, .tgz or .parquet file, or -"
        )
    if is_archive(path.name):
        return _in_archive(path, tally)
    return _in_parquet(path) if path.suffix == ".parquet" else iter([(readable(given), path)])


def readable(name: str) -> str:
    """Return the name of a file as UTF-8 text; a byte that is not UTF-8 becomes an escape such as \\xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _lines() -> Iterator[str]:
    """Yield the lines of standard input that are not empty, as names of files are decoded."""
    lines = map(os.fsdecode, getattr(sys.stdin, "buffer", sys.stdin))
    return (line.rstrip("\n") for line in lines if line.strip())


def _in_folder(folder: Path, tally: Tally) -> list[tuple[str, Image]]:
    paths = sorted(folder / file for file in images_below(folder, tally))
    if not paths:
        require_images(folder, str(folder))
        raise UsageError(f"{folder}: no images in this folder ({', '.join(sorted(EXTENSIONS))})")
    return [(readable(str(path)), path) for path in paths]


def _in_archive(path: Path, tally: Tally) -> Iterator[tuple[str, Image]]:
    """Yield the image members, with their names as keys; other members (labels, JSON) are passed over."""
    (archive,), archives, num_images = archives_of(path.parent, [path.name]), Archives(), 0
    for member in archives.members(archive):
        if reason := passed_over(member.name):
            tally.pass_over(reason, readable(member.name))
            continue
        num_images += 1
        yield readable(member.name), archives.read(archive, member.offset_data, member.size)
    if not num_images:
        raise UsageError(f"{path}: no member is an image ({', '.join(sorted(EXTENSIONS))})")


def _in_parquet(path: Path) -> Iterator[tuple[str, Image]]:
    """Yield a column `image` of bytes, or of structs with `bytes` and `path`; keys are paths, else row numbers."""
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise UsageError(f"{path}: is no Parquet file that can be read ({str(error).splitlines()[0]})") from None
    if "image" not in file.schema_arrow.names:
        raise UsageError(f"{path}: has no column 'image', only {', '.join(file.schema_arrow.names)}")
    row = 0
    for batch in file.iter_batches(BATCH_ROWS, columns=["image"], use_threads=False):
        for value in batch["image"].to_pylist():
            data, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
            yield name or str(row), data or b""
            row += 1
