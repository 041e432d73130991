"""What an extraction will cost, said before it starts: rows, bytes, free space, and a time from a few batches."""

import time
from dataclasses import dataclass
from itertools import islice

from icecore.store import SourceReport, free_bytes, missing_bytes

from .preparation import Prepared, prepare
from .settings import ExtractSettings

BATCHES_TIMED = 3  # after one that warms up


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a store will hold and cost; `free_bytes` is None where nobody can say."""

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
        """Whether there is room for what is missing."""
        return self.free_bytes is None or self.missing_bytes <= self.free_bytes


def preflight(source: str, store: str, settings: ExtractSettings) -> Preflight:
    """Say what `extract` with the same arguments would cost; writes nothing."""
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
    """Run a few batches, spread over the data set."""
    num_rows = len(ready.samples)
    step = max(1, num_rows // (batch_size * (BATCHES_TIMED + 1)))
    batches = ready.job.tokens(range(0, num_rows, step), ready.spec.identity.layers)
    started = time.perf_counter()
    warm = len(next(batches).batch.rows)
    warmed = time.perf_counter()
    timed = sum(len(result.batch.rows) for result in islice(batches, BATCHES_TIMED))
    ended = time.perf_counter()
    return timed / (ended - warmed) if timed else warm / (warmed - started)
