"""What successive halving costs in accuracy and saves in time, over the four data sets.

A = a sweep with `--halving`, B = the same without: DeiT-Tiny, all layers in float16, InCA, 16 configurations (4
learning rates x 4 weight decays), 20 epochs. Regret is the test accuracy, in points, of what is selected without
halving minus that of what is selected with it, both by validation: one adapter (`best`), and the default ensemble.
Beside it what `--folds 5 --halving` takes and loses.
"""

import argparse
import time
from pathlib import Path

from harness import Figure, main, scratch, store_of

from icecore.train import SelectSettings, TrainSettings, select, train

GRID = TrainSettings(adapters=("inca",), lr=(3e-4, 1e-3, 3e-3, 1e-2), weight_decay=(0.001, 0.01, 0.1, 0.3), epochs=20)

WAYS = {"halving": {"halving": True}, "folds and halving": {"halving": True, "folds": 5}}
SELECTORS = ("best", SelectSettings().selector)


def measure(store: str, run: Path, settings: TrainSettings) -> tuple[float, dict[str, float]]:
    """Return the seconds of a sweep and the test accuracy, in points, of what each selector makes of it."""
    begin = time.perf_counter()
    train(store, str(run), settings)
    elapsed_seconds = time.perf_counter() - begin
    tests = {selector: select(str(run), SelectSettings(selector=selector)).test for selector in SELECTORS}
    return elapsed_seconds, {selector: 100 * test.score for selector, test in tests.items() if test is not None}


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    settings = GRID.model_copy(update={"device": options.device, "epochs": 4 if options.quick else 20})
    figures, regrets = list[Figure](), {(way, selector): list[float]() for way in WAYS for selector in SELECTORS}
    names = ("rsscn7",) if options.quick else ("gtsrb", "rsscn7", "caltech101", "pacs-sketch")
    with scratch() as folder:
        for name in names:
            store = store_of(name, folder, options)
            whole, without = measure(store, folder / f"{name}.all", settings)
            for way, more in WAYS.items():
                some, halved = measure(store, folder / f"{name}.{way}", settings.model_copy(update=more))
                figures.append(Figure(f"{name}: seconds with {way} / with neither", some / whole))
                for selector, accuracy in without.items():
                    figures.append(Figure(f"{name}: regret of {selector}, {way}, points", accuracy - halved[selector]))
                    regrets[way, selector].append(accuracy - halved[selector])
    return figures + [
        Figure(f"mean: regret of {selector}, {way}, points", sum(some) / len(some), "<= 0.3")
        for (way, selector), some in regrets.items()
    ]


if __name__ == "__main__":
    main(run, __doc__)
