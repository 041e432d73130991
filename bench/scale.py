"""What more workers and more images do: the rate of `extract` on dask workers of one thread each.

A = one worker, B = two; and 1x, 2x and 4x as many images on one. Rates are those of the shards alone: starting the
cluster and the first shard of every worker (which loads the backbone) are left out.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, LocalCluster
from harness import BACKBONE, CHECKPOINT, SOURCES, Figure, alternate, main, scratch

from icecore.extract import ExtractSettings, Progress, extract

SHARD_ROWS = 16  # many small tasks: what a task costs counts in full


@contextmanager
def cluster(num_workers: int) -> Iterator[str]:
    """Start worker processes of one thread and yield their scheduler's address."""
    local = LocalCluster(n_workers=num_workers, processes=True, threads_per_worker=1, dashboard_address=":0")  # pyright: ignore
    with local, Client(local):
        yield local.scheduler_address  # pyright: ignore


def rate(scheduler: str, store: Path, limit: int, num_workers: int) -> float:
    """Return rows per second from the end of the workers' first shards to the last."""
    settings = ExtractSettings(
        backbone=BACKBONE,
        checkpoint=CHECKPOINT,
        limit=limit,
        batch_size=SHARD_ROWS,
        shard_rows=SHARD_ROWS,
        scheduler=scheduler,
    )
    seen: list[tuple[float, int]] = []

    def note(progress: Progress) -> None:
        seen.append((time.perf_counter(), progress.num_done))

    extract(SOURCES["pacs-sketch"], str(store), settings, note)
    (begin, first), (end, last) = seen[num_workers], seen[-1]
    return (last - first) / (end - begin)


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    rounds, num_rows = (1, 128) if options.quick else (3, 400)
    with scratch() as folder, cluster(1) as one, cluster(2) as two:
        number = iter(range(1000))

        def measure(scheduler: str, limit: int, num_workers: int = 1) -> float:
            return rate(scheduler, folder / f"{next(number)}.ice", limit, num_workers)

        single, double = alternate(lambda: measure(one, num_rows), lambda: measure(two, num_rows, 2), rounds)
        times = {size: [1 / measure(one, size * num_rows) for _ in range(rounds)] for size in (1, 2, 4)}
    medians = {size: statistics.median(found) for size, found in times.items()}
    return [
        Figure("one worker of one thread, rows/s", single),
        Figure("two workers of one thread, rows/s", double),
        Figure("seconds an image, 2x / 1x images", medians[2] / medians[1]),
        Figure("seconds an image, 4x / 1x images", medians[4] / medians[1], "<= 1.05"),
        Figure("two workers / one", double / single, ">= 1.8"),
    ]


if __name__ == "__main__":
    main(run, __doc__)
