"""The table of samples: for every row its key, label, split, group, and the digest of its source bytes."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import IntegrityError, UsageError
from .checksum import canonical, sha256

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("key", pa.string()),
        ("label", pa.int64()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)

FLAGGED = SCHEMA.append(pa.field("target", pa.list_(pa.float32())))  # 0 or 1; early versions: any number
NUMBERED = SCHEMA.append(pa.field("target", pa.list_(pa.float64())))


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a data set: `label` indexes the classes, `sha256` is of the source bytes, sizes are in pixels.

    `target` replaces `label` in stores for multi-label classification (0 or 1 for each class, None where unknown) and
    for regression (one number for each output). Rows of the same `group` stay in the same split.
    """

    key: str
    label: int | None
    split: str
    group: str | None = None
    sha256: str = ""
    width: int | None = None
    height: int | None = None
    target: tuple[float | None, ...] | None = None

    def __post_init__(self) -> None:
        if self.target is not None:  # floats, as a reader returns them, so that digests agree
            known = (None if value is None else float(value) for value in self.target)
            object.__setattr__(self, "target", tuple(known))


def check_keys(samples: Sequence[Sample]) -> None:
    """Check that keys are unique relative names.

    Raises:
        UsageError: a key is empty, absolute, repeated, or has `..`, a backslash or a null byte.
    """
    seen: set[str] = set()
    for sample in samples:
        path = PurePosixPath(sample.key)
        if not sample.key or path.is_absolute() or ".." in path.parts or "\\" in sample.key or "\0" in sample.key:
            raise UsageError(f"key {sample.key!r}: expected a relative name without '..'; rename it in the source")
        if sample.key in seen:
            raise UsageError(f"key {sample.key!r}: occurs twice; expected one sample a key, rename one in the source")
        seen.add(sample.key)


def check_text(texts: Iterable[str | None]) -> None:
    """Check that texts can be encoded as UTF-8, which names of files need not be.

    Raises:
        UsageError: a text cannot.
    """
    for text in texts:
        try:
            (text or "").encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{text!a}: is not in UTF-8, so it cannot be recorded; rename the file or folder"
            ) from None


def dataset_sha256(samples: Sequence[Sample], classes: Sequence[str]) -> str:
    """Return the SHA-256 of a data set: its classes, and key, label, split, group, source digest and target of rows."""
    rows = [_digested(sample) for sample in samples]
    return sha256(canonical({"classes": list(classes), "rows": rows}))


def _digested(sample: Sample) -> list[object]:
    known = [sample.key, sample.label, sample.split, sample.group, sample.sha256]
    return known if sample.target is None else [*known, list(sample.target)]


def to_parquet(samples: Sequence[Sample]) -> bytes:
    """Return the bytes of samples.parquet, with page checksums, and with a column `target` if any sample has one."""
    values = {value for sample in samples for value in sample.target or ()}
    schema = NUMBERED if not values <= {0, 1, None} else FLAGGED if values else SCHEMA
    table = pa.Table.from_pylist([{"row": row, **asdict(sample)} for row, sample in enumerate(samples)], schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue()


def rounded(sample: Sample) -> Sample:
    """Return a sample with its target rounded to float32, as early versions stored it."""
    if sample.target is None:
        return sample
    with np.errstate(over="ignore"):
        return replace(
            sample, target=tuple(None if value is None else float(np.float32(value)) for value in sample.target)
        )


def num_rounded(table: pa.Table) -> int:
    """Return how many rows of a table have targets that were rounded to float32: all rows or none."""
    kept = table["target"].to_pylist() if table.schema.equals(FLAGGED) else []
    return len(table) if any(value not in (0, 1, None) for target in kept for value in target or ()) else 0


def to_samples(table: pa.Table) -> list[Sample]:
    """Return the rows of the table as samples."""
    return [_to_sample(**{name: value for name, value in row.items() if name != "row"}) for row in table.to_pylist()]


def _to_sample(target: Sequence[float | None] | None = None, **fields: Any) -> Sample:
    return Sample(**fields, target=None if target is None else tuple(target))


def from_parquet(data: bytes, name: str) -> pa.Table:
    """Return the table in the bytes of samples.parquet; `name` is its file, for messages.

    Raises:
        IntegrityError: a page does not match its checksum, or the columns are not those of a store.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        table = file.read(use_threads=False)  # pyarrow's threads may outlive the interpreter and abort it
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{name}: is not a readable table ({str(error).splitlines()[0]})") from None
    if not any(table.schema.equals(schema) for schema in (SCHEMA, FLAGGED, NUMBERED)):
        raise IntegrityError(f"{name}: has columns {table.schema.names}, expected {SCHEMA.names}")
    return table
