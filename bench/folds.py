"""What folds gain over one held-out part: the test accuracy of what is chosen, and how far validation was from it.

Four data sets, DeiT-Tiny, all layers in float16; linear probes, InCA and ridge probes at two learning rates, 30 epochs.
A = 5 folds: about 1,000 rows choose, and adapters that learnt from all of them are kept; B = one held-out fifth. The
mean of `--parts` partitions of the rows.
"""

import argparse
import statistics
from pathlib import Path

from harness import SOURCES, Figure, main, scratch, store_of

from icecore.train import SelectSettings, TrainSettings, select, train

SELECTORS = ("best", SelectSettings().selector)
WAYS = {"5 folds": 5, "a fifth held out": None}


def measure(store: str, folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return by selector and way the test accuracy, and how much better validation was, partition by partition."""
    asked = TrainSettings(adapters=("linear", "inca", "ridge"), lr=(1e-3, 3e-3), weight_decay=(0.01,))
    found: dict[str, list[float]] = {}
    for seed in range(options.parts):
        for way, folds in WAYS.items():
            run, epochs = str(folder / f"{way}-{seed}"), 3 if options.quick else 30
            train(store, run, asked.model_copy(update={"folds": folds, "shuffle_seed": seed, "epochs": epochs}))
            for selector in SELECTORS:
                chosen = select(run, SelectSettings(selector=selector))
                assert chosen.test is not None  # all four have a test split
                found.setdefault(f"{selector}, {way}", []).append(100 * chosen.test.score)
                found.setdefault(f"{selector}, {way}: optimism", []).append(100 * (chosen.test_optimism or 0.0))
    return found


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    names = ("gtsrb",) if options.quick else tuple(SOURCES)
    with scratch() as folder:
        kept = options.runs or folder
        found = {name: measure(store_of(name, folder, options), kept / name, options) for name in names}
    figures = [
        Figure(f"{name}: {what}", statistics.mean(values)) for name, by in found.items() for what, values in by.items()
    ]
    means = {key: statistics.mean(statistics.mean(by[key]) for by in found.values()) for key in found[names[0]]}
    figures += [Figure(f"mean: {key}", value) for key, value in means.items()]
    folded, held_out = WAYS
    return figures + [
        Figure(f"points that folds gain, {one}", means[f"{one}, {folded}"] - means[f"{one}, {held_out}"])
        for one in SELECTORS
    ]


def _more(options: argparse.ArgumentParser) -> None:
    options.add_argument("--runs", type=Path, help="a folder that keeps what is trained")
    options.add_argument("--parts", type=int, default=1, help="how many partitions of the rows")


if __name__ == "__main__":
    main(run, __doc__, _more)
