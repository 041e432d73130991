"""Whether reading keeps up: shuffled epochs from the store against the same bytes from plain files, in order.

A = an epoch of one layer in its shuffled order, every row once, every chunk checked, as stored (int8 and scales), the
way training streams it; B = the same bytes from plain files, front to back, into a buffer that is there already. Cold:
the page cache was told to forget the files. What training makes of the rows (float, normalised) is told beside it.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from harness import Figure, alternate, main, scratch
from synthetic import write_store

from icecore.store import Store
from icecore.train.tokens.batch import Reads
from icecore.train.tokens.feed import StoreFeed
from icecore.train.tokens.order import even_batches, make_order

BATCH = 64


def forget(folder: Path) -> None:
    """Drop the pages of all files below a folder."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def copy_plain(store: Store, folder: Path) -> None:
    """Write the rows as plain files, one a shard and part."""
    folder.mkdir()
    for start in range(0, store.num_rows, store.shard_rows):
        for name, values in store.layer(store.layers[0]).parts(slice(start, start + store.shard_rows)).items():
            values.tofile(folder / f"{start:08d}.{name}")


def plain(folder: Path) -> float:
    """Return the seconds that reading all plain files takes, each whole into memory that is there already."""
    files = sorted(folder.iterdir())
    buffer = np.zeros(max(path.stat().st_size for path in files), np.uint8)
    begin = time.perf_counter()
    for path in files:
        with path.open("rb", buffering=0) as file:
            file.readinto(buffer.data)
    return time.perf_counter() - begin


def feed_of(store: Store) -> StoreFeed:
    """Return how training reads the layer."""
    return StoreFeed(
        store=store,
        rows=store.rows("train"),
        layers=(0,),
        reads=frozenset[Reads]({"normalised"}),
        eps=1e-6,
        device=torch.device("cpu"),
        dtype=torch.bfloat16,
    )


def shuffled(feed: StoreFeed, epoch: int) -> float:
    """Return the seconds that an epoch of stored rows takes."""
    sample_indices = make_order(feed.store, feed.layers, feed.rows, BATCH, seed=0).epoch(epoch)
    begin, count = time.perf_counter(), 0
    for batch in feed.encoded_batches(even_batches(sample_indices, BATCH)):
        count += batch.num_rows
    seconds = time.perf_counter() - begin
    if count != feed.num_rows:
        raise RuntimeError(f"{count} rows came of {feed.num_rows}")
    return seconds


def ready(feed: StoreFeed) -> float:
    """Return the seconds that an epoch takes with the rows made ready for an adapter."""
    begin = time.perf_counter()
    sample_indices = make_order(feed.store, feed.layers, feed.rows, BATCH, seed=0).epoch(1)
    for _ in feed.batches(even_batches(sample_indices, BATCH)):
        pass
    return time.perf_counter() - begin


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    num_rows, rounds = (2_500, 3) if options.quick else (12_000, 5)
    torch.set_num_threads(1)  # as one of the threads that train
    with scratch() as folder:
        store = write_store(str(folder / "s.ice"), num_rows)
        feed = feed_of(store)
        copy_plain(store, folder / "plain")
        megabytes = sum(path.stat().st_size for path in (folder / "plain").iterdir()) / 1e6

        def cold_store() -> float:
            forget(folder)
            return shuffled(feed, 1)

        def cold_plain() -> float:
            forget(folder)
            return plain(folder / "plain")

        a_cold, b_cold = alternate(cold_store, cold_plain, rounds)
        shuffled(feed, 1)
        plain(folder / "plain")
        a, b = alternate(lambda: shuffled(feed, 2), lambda: plain(folder / "plain"), 2 * rounds - 1)
        seen = ready(feed)
    return [
        Figure("plain files in order, cold, MB/s", megabytes / b_cold),
        Figure("shuffled from the store, cold, MB/s", megabytes / a_cold),
        Figure("plain files in order, warm, MB/s", megabytes / b),
        Figure("shuffled from the store, warm, MB/s", megabytes / a),
        Figure("the same, made ready for adapters (bfloat16), MB/s stored", megabytes / seen),
        Figure("store / plain, warm", b / a, ">= 0.8"),
        Figure("store / plain, cold", b_cold / a_cold, ">= 0.8"),
    ]


if __name__ == "__main__":
    main(run, __doc__)
