"""What the bytes of a data set are, before any is decoded: digests and sizes, which make its identity."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from icecore.store import IcecoreError, Sample

from .decoding import image_size
from .passing import AbsentError
from .reading import digest, read
from .sources import Source

ROWS_AT_ONCE = 64  # of one task, so that handing out tasks costs nothing


def scan(source: Source, rows: Sequence[int], num_threads: int = 4) -> list[Sample]:
    """Return the samples of some rows with sha256, and with width and height where a header tells them.

    A sample that its source lists and that is not there keeps an empty sha256: it will be recorded as failed.

    Raises:
        PassingError: a sample cannot be read now. Without its bytes this would be another data set.
    """
    parts = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    with ThreadPoolExecutor(num_threads, thread_name_prefix="scan") as pool:
        samples = [sample for part in pool.map(lambda part: _scan(source, part), parts) for sample in part]
    if not any(sample.sha256 for sample in samples):
        key = samples[0].key
        raise IcecoreError(f"none of the {len(samples)} images can be read, first {key!r}; expected them at their keys")
    return samples


def _scan(source: Source, rows: Sequence[int]) -> list[Sample]:
    return [_scan_row(source, row) for row in rows]


def _scan_row(source: Source, row: int) -> Sample:
    sample = source.samples[row]
    try:
        data = read(source, row)
    except AbsentError:
        return sample
    width, height = (sample.width, sample.height) if sample.width else image_size(data) or (None, None)
    return replace(sample, sha256=digest(data), width=width, height=height)
