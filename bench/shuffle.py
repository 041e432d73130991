"""Whether rows shuffled within windows teach what a full shuffle teaches, from a store written in class order.

A = gtsrb's layer 5, rows sorted by class, in shards of 64 rows and so in windows of 256; B = the same rows in one plain
shuffle. InCA, best learning rate of two by validation, test accuracy, the mean of five orders.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from harness import Figure, main, scratch, store_of

from icecore.store import Sample, dataset_sha256, open_store, open_writer
from icecore.train import SelectSettings, TrainSettings, order, select, task, train

LAYER, SHARD_ROWS, NUM_ORDERS = 5, 64, 5


def sort_by_class(url: str, out: str) -> None:
    """Write a store's layer again, its rows in the order of their classes."""
    store = open_store(url)
    rows = sorted(range(store.num_rows), key=lambda row: (store.labels[row], row))
    table = store.samples.select(["key", "label", "split", "group", "sha256", "width", "height"]).to_pylist()
    samples = [Sample(**table[row]) for row in rows]
    digest = dataset_sha256(samples, store.classes)
    identity = store.identity.model_copy(update={"layers": (LAYER,), "dataset_sha256": digest})
    shapes = {LAYER: store.spec.layers[LAYER]}
    spec = store.spec.model_copy(update={"identity": identity, "layers": shapes, "shard_rows": SHARD_ROWS})
    with open_writer(out, spec, samples, store.frozen()) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as to:
                some = torch.tensor(rows[shard.start : shard.stop]).numpy()
                to.append(range(shard.start, shard.stop), {LAYER: store.layer(LAYER).rows(some)})


def accuracy(store: str, folder: Path, epochs: int, make_order: Callable[..., order.Order]) -> float:
    """Return the mean test accuracy in points, over orders of the rows."""
    task.make_order = make_order
    found = []
    for seed in range(NUM_ORDERS):
        run = str(folder / str(seed))
        train(store, run, TrainSettings(adapters=("inca",), weight_decay=(0.01,), epochs=epochs, shuffle_seed=seed))
        test = select(run, SelectSettings()).test
        found.append(100 * test.score if test else 0.0)
    return sum(found) / len(found)


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    epochs = 2 if options.quick else 40
    plain = order.make_order
    with scratch() as folder:
        sort_by_class(store_of("gtsrb", folder, options), str(folder / "sorted.ice"))
        a = accuracy(str(folder / "sorted.ice"), folder / "windows", epochs, plain)
        whole = lambda *of: replace(plain(*of), window_rows=10**9)  # noqa: E731
        b = accuracy(str(folder / "sorted.ice"), folder / "whole", epochs, whole)
    return [
        Figure("test accuracy, windows, per cent", a),
        Figure("test accuracy, full shuffle, per cent", b),
        Figure("points lost by windows", b - a, "<= 1.0"),
    ]


if __name__ == "__main__":
    main(run, __doc__)
