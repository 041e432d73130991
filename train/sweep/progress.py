"""The progress of a sweep: epochs done, out of how many."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..runs.result import EpochResult


@dataclass(frozen=True)
class Progress:
    """Epochs done and in total, summed over adapters, and the latest layers with the results of their last epochs.

    `results` is empty where the layers are trained in another process.
    """

    done: int
    total: int
    layers: tuple[int, ...]
    elapsed_seconds: float
    results: tuple[EpochResult, ...] = ()


class Meter:
    """Adds up the epochs that tasks report from several threads, and passes the progress on."""

    def __init__(self, begin: float, progress: Callable[[Progress], None] | None, done: int, total: int) -> None:
        self._total, self._begin, self._progress = total, begin, progress
        self._done = done
        self._lock = threading.Lock()
        self.stopped = False

    def add(self, count: int, layers: tuple[int, ...], results: Sequence[EpochResult] = ()) -> None:
        """Report `count` epochs, summed over the adapters, of a task that reads `layers`."""
        with self._lock:
            self._done += count
            if self._progress is not None:
                elapsed_seconds = time.perf_counter() - self._begin
                self._progress(Progress(self._done, self._total, layers, elapsed_seconds, tuple(results)))
