"""What choosing among layers, families and configurations gains on real images: every selector on the same sweep.

Four data sets, DeiT-Tiny, all layers in float16, the default grid of linear probes and InCA, 60 epochs, one seed; each
selector sees the kept validation predictions alone. The test split is predicted once, for all selectors together.
"""

import argparse
import statistics
from pathlib import Path

import torch
from harness import BACKBONE, CHECKPOINT, SOURCES, Figure, main, scratch

from icecore.extract import ExtractSettings, extract
from icecore.store import open_store
from icecore.train import SelectSettings, TrainSettings, train
from icecore.train.choice import choose, eligible
from icecore.train.cost import Costs
from icecore.train.select import mix
from icecore.train.selectors import SELECTORS
from icecore.train.testsplit import TestSplit

DEFAULT = SelectSettings().selector


def accuracies(name: str, folder: Path, quick: bool) -> dict[str, float]:
    """Return the test accuracy of what each selector chooses from one sweep of one data set."""
    url, limit = str(folder / f"{name}.ice"), 200 if quick else None
    settings = ExtractSettings(backbone=BACKBONE, checkpoint=CHECKPOINT, dtype="float16", limit=limit)
    extract(SOURCES[name], url, settings)
    run = train(url, str(folder / f"{name}.run"), TrainSettings(epochs=3 if quick else 60))
    store, kept = open_store(url), run.kept()
    asked = {selector: SelectSettings(selector=selector) for selector in SELECTORS}
    costs = Costs(store)
    chosen = {key: choose(eligible(kept, one, costs), one, costs) for key, one in asked.items()}
    test = TestSplit(store, kept.target).open_once(kept.candidates, run.tensors(), torch.device("cpu"))
    return {key: kept.target.score(mix(test.predictions, one), test.labels).score for key, one in chosen.items()}


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    names = ("gtsrb",) if options.quick else tuple(SOURCES)
    with scratch() as folder:
        found = {name: accuracies(name, folder, options.quick) for name in names}
    figures = [Figure(f"{name}: {key}", value) for name, by in found.items() for key, value in by.items()]
    means = {key: statistics.mean(by[key] for by in found.values()) for key in SELECTORS}
    figures += [Figure(f"mean: {key}", value) for key, value in means.items()]
    gain = 100 * (means[DEFAULT] - means["best"])
    return [*figures, Figure(f"points that {DEFAULT} gains over the best adapter alone", gain, ">= 2.5")]


if __name__ == "__main__":
    main(run, __doc__)
