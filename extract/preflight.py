"""Estimates what an extraction costs before it starts: rows, bytes, and the time from a few batches."""

import time
from dataclasses import dataclass
from itertools import islice

from icecore.store import SourceReport, free_bytes, missing_bytes

from .preparation import Prepared, prepare
from .settings import ExtractSettings

BATCHES_TIMED = 3  # after one warm-up batch


@dataclass(frozen=True, slots=True)
class Preflight:
    """The size and cost of a store to be; `free_bytes` is None for object stores, which do not tell."""

    num_rows: int
    layer_bytes: dict[int, int]
    total_bytes: int
    missing_bytes: int
    free_bytes: int | None
    rows_per_second: float
    estimated_seconds: float
    source: SourceReport

    @property
    def fits(self) -> bool:
        """Whether the free space suffices for the missing bytes; True where the free space is not known."""
        return self.free_bytes is None or self.missing_bytes <= self.free_bytes


def preflight(source: str, store: str, settings: ExtractSettings) -> Preflight:
    """Return the cost of `extract` with the same arguments; nothing is written.

    Raises:
        UsageError: a setting, the source or the backbone is wrong.
    """
    ready = prepare(source, store, settings)
    rate = _rows_per_second(ready, settings.batch_size)
    num_rows, missing = len(ready.samples), missing_bytes(store, ready.size)
    return Preflight(
        num_rows=num_rows,
        layer_bytes=ready.size.layers,
        total_bytes=ready.size.total,
        missing_bytes=missing,
        free_bytes=free_bytes(store),
        rows_per_second=rate,
        estimated_seconds=num_rows * settings.views * missing / ready.size.total / rate,
        source=ready.report,
    )


def _rows_per_second(ready: Prepared, batch_size: int) -> float:
    """Measure the rate of a few batches of rows that are spread over the data set."""
    num_rows = len(ready.samples)
    step = max(1, num_rows // (batch_size * (BATCHES_TIMED + 1)))
    batches = ready.job.tokens(range(0, num_rows, step), ready.spec.identity.layers)
    started = time.perf_counter()
    warm = len(next(batches).batch.rows)
    warmed = time.perf_counter()
    timed = sum(len(result.batch.rows) for result in islice(batches, BATCHES_TIMED))
    ended = time.perf_counter()
    return timed / (ended - warmed) if timed else warm / (warmed - started)
