"""What successive halving costs in accuracy and saves in time, over the four data sets.

A = a sweep with `--halving`, B = the same without: DeiT-Tiny, all layers in float16, InCA, 16 configurations (4
learning rates x 4 weight decays), 20 epochs. Regret is the test accuracy, in points, of the adapter that is selected
without halving minus that of the one selected with it; both choices are made by validation.
"""

import argparse
import time
from pathlib import Path

from harness import Figure, main, scratch, store_of

from icecore.train import SelectSettings, TrainSettings, select, train

GRID = TrainSettings(adapters=("inca",), lr=(3e-4, 1e-3, 3e-3, 1e-2), weight_decay=(0.001, 0.01, 0.1, 0.3), epochs=20)


def measure(store: str, run: Path, settings: TrainSettings) -> tuple[float, float]:
    """Return the seconds of a sweep and the test accuracy, in points, of what is selected."""
    begin = time.perf_counter()
    train(store, str(run), settings)
    elapsed_seconds = time.perf_counter() - begin
    test = select(str(run), SelectSettings()).test
    if test is None:
        raise RuntimeError(f"{store}: no test rows")
    return elapsed_seconds, 100 * test.score


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    settings = GRID.model_copy(update={"device": options.device, "epochs": 4 if options.quick else 20})
    figures, regrets = [], []
    names = ("rsscn7",) if options.quick else ("gtsrb", "rsscn7", "caltech101", "pacs-sketch")
    with scratch() as folder:
        for name in names:
            store = store_of(name, folder, options)
            whole, without = measure(store, folder / f"{name}.all", settings)
            some, halved = measure(store, folder / f"{name}.half", settings.model_copy(update={"halving": True}))
            figures.append(Figure(f"{name}: seconds with halving / without", some / whole))
            figures.append(Figure(f"{name}: regret, points", without - halved))
            regrets.append(without - halved)
    return [*figures, Figure("regret, points, mean", sum(regrets) / len(regrets), "<= 0.3")]


if __name__ == "__main__":
    main(run, __doc__)
