"""Whether rows shuffled through a pool teach what a full shuffle teaches, from a store written in class order.

A = gtsrb's layer 5, rows sorted by class, in shards of 64 rows and so through a pool that takes the memory of 512; B =
the same rows in one plain shuffle. InCA, best learning rate of two by validation, test accuracy, the mean of fifteen
orders; the standard error is that of the mean difference, order by order, since each also says who is held out.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from harness import Figure, main, scratch, store_of

from icecore.store import Sample, dataset_sha256, open_store, open_writer
from icecore.train import SelectSettings, TrainSettings, select, train
from icecore.train.sweep import task
from icecore.train.tokens import order
from icecore.train.tokens.order import Order

LAYER, SHARD_ROWS, NUM_ORDERS = 5, 64, 15


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


def accuracies(store: str, folder: Path, options: argparse.Namespace, make_order: Callable[..., Order]) -> list[float]:
    """Return the test accuracy in points for each order of the rows."""
    task.make_order = make_order
    found: list[float] = []
    settings = TrainSettings(adapters=("inca",), weight_decay=(0.01,), epochs=2 if options.quick else 40)
    for seed in range(2 if options.quick else NUM_ORDERS):
        run = str(folder / str(seed))
        train(store, run, settings.model_copy(update={"shuffle_seed": seed}))
        test = select(run, SelectSettings()).test
        found.append(100 * test.score if test else 0.0)
    return found


def whole(*of: Any) -> Order:
    """Return an order in which all rows are mixed."""
    plain = order.make_order(*of)
    return replace(plain, pool=replace(plain.pool, num_rows=len(plain.rows)))


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    with scratch() as folder:
        store = str(folder / "sorted.ice")
        sort_by_class(store_of("gtsrb", folder, options), store)
        a = accuracies(store, folder / "pool", options, order.make_order)
        b = accuracies(store, folder / "whole", options, whole)
    lost = [y - x for x, y in zip(a, b, strict=True)]
    return [
        Figure("test accuracy, through a pool, per cent", mean(a)),
        Figure("test accuracy, full shuffle, per cent", mean(b)),
        Figure("standard error of the points lost", stdev(lost) / len(lost) ** 0.5),
        Figure("points lost by the pool", mean(lost), "<= 1.0"),
    ]


if __name__ == "__main__":
    main(run, __doc__)
