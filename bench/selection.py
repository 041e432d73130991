"""What choosing among layers, families and configurations gains on real images: every selector on the same sweep.

Four data sets, DeiT-Tiny, all layers in float16, the default grid of linear probes, InCA and ridge probes, 60 epochs,
one seed; each selector sees the kept validation predictions alone, and chooses five times, from other draws of rows
where it draws any. The test split is predicted once, for all of them together. `without ridge` chooses from the same
sweep less the ridge probes, `mean of ten` is the plain mean of the ten adapters of lowest validation loss.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from harness import SOURCES, Figure, main, scratch, store_of

from icecore.store import open_store
from icecore.train import SelectSettings, TrainSettings, train
from icecore.train.runs.validation_predictions import ValidationPredictions
from icecore.train.selection.choice import choose, eligible
from icecore.train.selection.cost import Costs
from icecore.train.selection.selectors import SELECTORS
from icecore.train.selection.test_split import TestSplit

DEFAULT = SelectSettings().selector
ADAPTERS = ("linear", "inca", "ridge")
DRAWN = (DEFAULT, "average", "lasso")  # these depend on a draw of rows
NUM_DRAWS = 5
Choice = Callable[[ValidationPredictions, int], dict[str, float]]


def choices(costs: Costs) -> dict[str, Choice]:
    """Return every way to choose, by name; the number is of the draw."""

    def by(selector: str) -> Choice:
        settings = SelectSettings(selector=selector)
        return lambda kept, seed: choose(kept, [kept.every_row], settings.model_copy(update={"seed": seed}), costs)[0]

    ways = {name: by(name) for name in SELECTORS} | {"mean of ten": mean_of_ten}
    without = {f"{name} without ridge": _without_ridge(ways[name]) for name in ("best", "mean of ten", DEFAULT)}
    return ways | without


def _seeds(name: str) -> range:
    return range(NUM_DRAWS if name.split()[0] in DRAWN else 1)


def mean_of_ten(kept: ValidationPredictions, seed: int) -> dict[str, float]:
    """Weigh the ten of lowest validation loss alike."""
    lowest = kept.row_losses.mean(1).argsort(stable=True)[:10].tolist()
    return {kept.candidates[place].adapter_id: 1 / len(lowest) for place in lowest}


def _without_ridge(way: Choice) -> Choice:
    def choice(kept: ValidationPredictions, seed: int) -> dict[str, float]:
        return way(kept.subset([place for place, one in enumerate(kept.candidates) if one.adapter != "ridge"]), seed)

    return choice


def accuracies(name: str, folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the test accuracy of what every way chooses from one sweep of one data set, draw by draw."""
    url, runs = store_of(name, folder, options), options.runs or folder
    run = train(url, str(runs / f"{name}.run"), TrainSettings(adapters=ADAPTERS, epochs=3 if options.quick else 60))
    store = open_store(url)
    costs = Costs(store)
    kept = eligible(run.validation_predictions(), SelectSettings(), costs)
    chosen = {key: [way(kept, seed) for seed in _seeds(key)] for key, way in choices(costs).items()}
    mixtures = [one for draws in chosen.values() for one in draws]
    test = TestSplit(store, kept.target).predict_once(kept.candidates, run.tensors(), torch.device("cpu"), mixtures)
    truth = test.labels[test.known]
    scores = iter([kept.target.score(one[test.known], truth).score for one in test.mixtures])
    return {key: [next(scores) for _ in draws] for key, draws in chosen.items()}


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    names = ("gtsrb",) if options.quick else tuple(SOURCES)
    with scratch() as folder:
        found = {name: accuracies(name, folder, options) for name in names}
    figures = [
        Figure(f"{name}: {key}", statistics.mean(draws)) for name, by in found.items() for key, draws in by.items()
    ]
    means = {key: statistics.mean(statistics.mean(by[key]) for by in found.values()) for key in found[names[0]]}
    figures += [Figure(f"mean: {key}", value) for key, value in means.items()]
    draws = [statistics.mean(draw) for draw in zip(*(by[DEFAULT] for by in found.values()), strict=True)]
    figures.append(Figure(f"standard deviation of a draw of {DEFAULT}", statistics.stdev(draws)))
    for other, target in (("greedy", ">= 0"), ("mean of ten", ">= 0"), ("best", ">= 2.5")):
        gain = 100 * (means[DEFAULT] - means[other])
        figures.append(Figure(f"points that {DEFAULT} gains over {other}", gain, target))
    return figures


def _more(options: argparse.ArgumentParser) -> None:
    options.add_argument("--runs", type=Path, help="a folder that keeps what is trained")


if __name__ == "__main__":
    main(run, __doc__, _more)
