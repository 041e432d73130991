"""Whether training-free scores rank layers as training does, and what pruning by them costs and saves.

Four data sets, DeiT-Tiny, all layers in float16. For every score, Kendall's tau over the layers with the test accuracy
of each family (its best configuration by validation at every layer), and the test accuracy that the selected adapter
loses when the sweep trains only the 5 or 3 best layers of the score: exact from the one sweep, since adapters are
trained alike with and without their neighbours. The seconds of a sweep over `top:5` and `top:3` are measured, scoring
included, as CPU seconds of the process.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from harness import SOURCES, Figure, main, scratch, store_of
from scipy.stats import kendalltau

from icecore.train import ScoreSettings, SelectSettings, TableRow, TrainSettings, score, select, train
from icecore.train.runs import best_first
from icecore.train.scores import SCORES

FAMILIES = ("linear", "inca")
TOP = (5, 3)


def measure(name: str, folder: Path, options: argparse.Namespace) -> list[Figure]:
    """Score, sweep over all layers, and sweep over the best ones by ridge."""
    store = store_of(name, folder, options)
    begin = time.process_time()
    score(store, ScoreSettings())
    ridge_seconds = time.process_time() - begin
    found = score(store, ScoreSettings(scores=tuple(SCORES)))
    figures = [Figure(f"{name}: CPU seconds of scoring by ridge", ridge_seconds)]
    settings = TrainSettings(lr=(1e-3, 3e-3), weight_decay=(0.01,), epochs=3 if options.quick else 30)
    for layers in ("all", *(f"top:{count}" for count in TOP)):
        begin = time.process_time()
        train(store, str(folder / f"{name}-{layers}"), settings.model_copy(update={"layers": layers}))
        figures.append(Figure(f"{name}: CPU seconds of the sweep, layers {layers}", time.process_time() - begin))
    table = select(str(folder / f"{name}-all"), SelectSettings()).table
    for of in SCORES:
        by_layer = {one.layer: one.score for one in found if one.name == of}
        figures += agreement(f"{name}: {of}", by_layer, table)
    return figures


def agreement(what: str, by_layer: dict[int, float], table: Iterable[TableRow]) -> list[Figure]:
    """Return the tau with each family's test accuracy, and the points of accuracy that pruning loses."""
    figures: list[Figure] = []
    for family in FAMILIES:
        rows = [row for row in table if row.adapter == family]
        found = kendalltau([by_layer[row.layer] for row in rows], [row.test_score for row in rows])
        figures.append(Figure(f"{what}, tau with {family}", float(np.asarray(found)[0])))
    ranked = sorted(by_layer, key=lambda layer: (-by_layer[layer], layer))
    whole = _selected(table, ranked)
    for count in TOP:
        figures.append(Figure(f"{what}, points lost by top:{count}", 100 * (whole - _selected(table, ranked[:count]))))
    return figures


def _selected(table: Iterable[TableRow], layers: Iterable[int]) -> float:
    """Return the test accuracy of the best adapter by validation among some layers."""
    there = set(layers)
    rows = [row for row in table if row.layer in there]
    return min(rows, key=lambda row: best_first(row.validation_score, row.validation_loss)).test_score or 0.0


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    names = ("rsscn7",) if options.quick else tuple(SOURCES)
    with scratch() as folder:
        return [figure for name in names for figure in measure(name, folder, options)]


if __name__ == "__main__":
    main(run, __doc__)
