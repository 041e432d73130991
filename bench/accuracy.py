"""What the main job reaches on real images: the selected adapter against a linear probe on the last layer.

Four data sets, DeiT-Tiny, all layers in float16, the default grid, 60 epochs, one seed; chosen on validation, test read
once.
Also the seconds that training takes from the store.
"""

import argparse
import json
import time
from pathlib import Path

from harness import BACKBONE, CHECKPOINT, SOURCES, Figure, main, scratch

from icecore.extract import ExtractSettings, extract
from icecore.train import SelectSettings, TrainSettings, select, train

LEAST = {"gtsrb": ">= 0.85", "rsscn7": ">= 0.88", "caltech101": ">= 0.83", "pacs-sketch": ">= 0.76"}
LAST = 12


def measure(name: str, folder: Path, quick: bool) -> list[Figure]:
    """Run the main job on one data set."""
    store, run = str(folder / f"{name}.ice"), folder / f"{name}.run"
    limit = 200 if quick else None
    settings = ExtractSettings(backbone=BACKBONE, checkpoint=CHECKPOINT, dtype="float16", limit=limit)
    extract(SOURCES[name], store, settings)
    started = time.perf_counter()
    train(store, str(run), TrainSettings(epochs=3 if quick else 60))
    elapsed_seconds = time.perf_counter() - started
    select(str(run), SelectSettings())
    selection = json.loads((run / "selection.json").read_text())
    table = {(row["adapter"], row["layer"]): row["test_score"] for row in selection["table"]}
    chosen = selection["selected"][0]
    return [
        Figure(f"{name}: seconds of training", elapsed_seconds),
        Figure(f"{name}: linear probe, layer {LAST}", table["linear", LAST]),
        Figure(f"{name}: InCA, layer {LAST}", table["inca", LAST]),
        Figure(
            f"{name}: selected, {chosen['adapter']} at layer {chosen['layer']}", selection["test"]["top1"], LEAST[name]
        ),
    ]


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    names = ("gtsrb",) if options.quick else tuple(SOURCES)
    with scratch() as folder:
        return [figure for name in names for figure in measure(name, folder, options.quick)]


if __name__ == "__main__":
    main(run, __doc__)
