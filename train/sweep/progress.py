"""How far a sweep is."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..runs.result import EpochResult


@dataclass(frozen=True)
class Progress:
    """Epochs of single adapters done, of how many, the layers being trained, and what came of their last epochs.

    `results` is empty where they are trained in other processes.
    """

    done: int
    total: int
    layers: tuple[int, ...]
    elapsed_seconds: float
    results: tuple[EpochResult, ...] = ()


class Meter:
    """Adds up what groups report, side by side."""

    def __init__(self, begin: float, progress: Callable[[Progress], None] | None, done: int, total: int) -> None:
        self._total, self._begin, self._progress = total, begin, progress
        self._done = done
        self._lock = threading.Lock()
        self.stopped = False

    def add(self, count: int, layers: tuple[int, ...], results: Sequence[EpochResult] = ()) -> None:
        """Report some adapters' epochs."""
        with self._lock:
            self._done += count
            if self._progress is not None:
                elapsed_seconds = time.perf_counter() - self._begin
                self._progress(Progress(self._done, self._total, layers, elapsed_seconds, tuple(results)))
