"""Scans a data set without decoding it: digests and sizes of the images, which make its identity."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from icecore.store import IcecoreError, Sample

from ..decoding.header import Header, read_header
from ..decoding.rules import DEFAULT, Decoding
from ..files.passing import AbsentError
from ..sources import Source
from .reading import digest, read

ROWS_AT_ONCE = 64  # rows a task of the pool


@dataclass(frozen=True, slots=True)
class Scan:
    """Samples with digests and sizes, and by row the headers that are not plain (`Header.is_plain`)."""

    samples: list[Sample]
    odd: dict[int, Header]


def scan(source: Source, rows: Sequence[int], rules: Decoding | None = DEFAULT, num_threads: int = 4) -> Scan:
    """Return the samples of some rows of a source with sha256, and with width and height where the header has them.

    A sample that does not exist keeps an empty sha256, and its row will be recorded as failed.

    Raises:
        PassingError: a sample cannot be read; without its bytes the data set would have another identity.
        IcecoreError: no sample exists.
    """
    parts = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    with ThreadPoolExecutor(num_threads, thread_name_prefix="scan") as pool:
        scanned = [result for part in pool.map(lambda part: _scan(source, part, rules), parts) for result in part]
    samples = [sample for sample, _ in scanned]
    if not any(sample.sha256 for sample in samples):
        key = samples[0].key
        raise IcecoreError(f"none of the {len(samples)} images can be read, first {key!r}; expected them at their keys")
    return Scan(samples, {row: header for row, (_, header) in enumerate(scanned) if header and not header.is_plain})


def _scan(source: Source, rows: Sequence[int], rules: Decoding | None) -> list[tuple[Sample, Header | None]]:
    return [_scan_row(source, row, rules) for row in rows]


def _scan_row(source: Source, row: int, rules: Decoding | None) -> tuple[Sample, Header | None]:
    sample = source.samples[row]
    try:
        data = read(source, row)
    except AbsentError:
        return sample, None
    header = None if sample.width else read_header(data, rules)
    width, height = (header.width, header.height) if header else (sample.width, sample.height)
    return replace(sample, sha256=digest(data), width=width, height=height), header
