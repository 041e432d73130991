"""Counts the progress of an extraction; knows nothing of how it is shown."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """The state after a batch. `num_done` includes `num_skipped`, the rows that an earlier run finished."""

    num_rows: int
    num_done: int
    num_skipped: int
    num_failed: int  # of this run
    num_bytes: int  # encoded tokens that this run wrote, estimated from the mean size of a row
    elapsed_seconds: float

    @property
    def rows_per_second(self) -> float:
        """Rows that this run wrote per second."""
        return (self.num_done - self.num_skipped) / max(self.elapsed_seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds for the remaining rows at the present rate; None before the first row."""
        rate = self.rows_per_second
        return (self.num_rows - self.num_done) / rate if rate else None


class Meter:
    """Counts the rows that one run writes, and calls `report` with the progress after each count."""

    def __init__(self, num_rows: int, num_skipped: int, row_bytes: float, report: Callable[[Progress], None]) -> None:
        self._num_rows = num_rows
        self._num_skipped = num_skipped
        self._row_bytes = row_bytes
        self._report = report
        self._num_new = 0.0
        self._num_failed = 0
        self._started = time.monotonic()

    def add(self, num_rows: float, num_failed: int) -> None:
        """Count `num_rows` rows, of which `num_failed` failed; with V views a row counts 1/V for each view."""
        self._num_new += num_rows
        self._num_failed += num_failed
        self._report(self.progress)

    @property
    def progress(self) -> Progress:
        """The present state."""
        return Progress(
            num_rows=self._num_rows,
            num_done=self._num_skipped + round(self._num_new),
            num_skipped=self._num_skipped,
            num_failed=self._num_failed,
            num_bytes=round(self._num_new * self._row_bytes),
            elapsed_seconds=time.monotonic() - self._started,
        )
