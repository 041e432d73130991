"""Chooses how many threads decode images and run batches; memory does not grow with the number of cores."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import torch

MOST_RUNNING = 4  # batches at a time; each holds the tokens of every requested layer


@dataclass(frozen=True, slots=True)
class Threads:
    """Numbers of threads: `num_decoding` decode images, `num_running` run one batch each on `cores_each` cores."""

    num_decoding: int
    num_running: int
    cores_each: int

    @staticmethod
    def of(device: torch.device, num_cores: int, num_threads: int | None = None) -> "Threads":
        """Return the threads for a number of cores; `num_threads` overrides both `num_decoding` and `num_running`.

        On a CPU a few batches run side by side on a share of the cores each. Threads that share one matrix product
        would wait for the slowest of them at every step: 54 instead of 81 rows/s on two cores, one of which is busy
        with writing a third of the time. On any other device one batch runs at a time.
        """
        num_running = (num_threads or min(num_cores, MOST_RUNNING)) if device.type == "cpu" else 1
        return Threads(num_threads or num_cores, num_running, max(1, num_cores // num_running))

    @property
    def num_ahead(self) -> int:
        """Number of batches begun beyond the one that the consumer waits for: one is ready while the others run."""
        return self.num_running + 1

    @contextlib.contextmanager
    def pools(self) -> Iterator[tuple[Executor, Executor]]:
        """Yield the pools that decode and run; work that has not begun when the context ends is cancelled."""
        decoding = ThreadPoolExecutor(self.num_decoding, "decode", torch.set_num_threads, (1,))
        running = ThreadPoolExecutor(self.num_running, "batch", torch.set_num_threads, (self.cores_each,))
        try:
            yield decoding, running
        finally:
            for pool in (decoding, running):
                pool.shutdown(cancel_futures=True)
