"""How many threads decode images and how many run batches, so that memory does not grow with the number of cores."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import torch

MOST_RUNNING = 4  # batches at a time: each holds the tokens of every layer that is asked for


@dataclass(frozen=True, slots=True)
class Threads:
    """The threads of an extraction: those that decode, those that run a batch each, and the cores of such a batch."""

    num_decoding: int
    num_running: int
    cores_each: int

    @staticmethod
    def of(device: torch.device, num_cores: int, num_threads: int | None = None) -> "Threads":
        """Return the threads for some cores; `num_threads` is the user's number, both of those that decode and run.

        On a CPU each of a few batches has its share of the cores: threads that share one product wait for the slowest
        of them at every step (two cores, one of them a third busy with writing: 54 rows/s, not 81). Any other device
        runs one batch after another by itself.
        """
        num_running = (num_threads or min(num_cores, MOST_RUNNING)) if device.type == "cpu" else 1
        return Threads(num_threads or num_cores, num_running, max(1, num_cores // num_running))

    @property
    def num_ahead(self) -> int:
        """How many batches may be begun after the one that is asked for next: one waits while the others run."""
        return self.num_running + 1

    @contextlib.contextmanager
    def pools(self) -> Iterator[tuple[Executor, Executor]]:
        """Start the threads that decode and the threads that run; what has not begun at the end is dropped."""
        decoding = ThreadPoolExecutor(self.num_decoding, "decode", torch.set_num_threads, (1,))
        running = ThreadPoolExecutor(self.num_running, "batch", torch.set_num_threads, (self.cores_each,))
        try:
            yield decoding, running
        finally:
            for pool in (decoding, running):
                pool.shutdown(cancel_futures=True)
