"""What commands take before and beside their work: seconds of the processor and the peak of memory, the best of five.

`--help`, a mistake, `inspect` of a small store, `select` of a small RUN, and `predict` of four images by the packaged
backbone, each in a process of its own with one thread.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from harness import Cost, Figure, cost_of, main, scratch
from PIL import Image

from icecore.extract import ExtractSettings, extract
from icecore.train import SelectSettings, TrainSettings, select, train

MOST_SECONDS, MOST_SECONDS_PREDICT = 1.5, 4.0


def write_images(folder: Path, num_rows: int) -> list[str]:
    """Write grey noise."""
    folder.mkdir()
    paths = [folder / f"{row}.png" for row in range(num_rows)]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return [str(path) for path in paths]


def best_of(rounds: int, words: list[str], code: int) -> Cost:
    """Return the fastest run, which met the least of what else the machine does."""
    icecore = str(Path(sys.executable).parent / "icecore")
    return min((cost_of([icecore, *words], code) for _ in range(rounds)), key=lambda cost: cost.seconds)


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    with scratch() as folder:
        store, made, images = str(folder / "s.ice"), str(folder / "run"), write_images(folder / "images", 4)
        extract("sklearn:digits", store, ExtractSettings(backbone="icecore_nano", layers="0-2", limit=300))
        train(store, made, TrainSettings(adapters=("linear",), epochs=2))
        select(made, SelectSettings())
        commands: dict[str, tuple[list[str], int, float]] = {
            "--help": (["--help"], 0, MOST_SECONDS),
            "a mistake": (["train", store, "--epoch", "3"], 2, MOST_SECONDS),
            "inspect": (["inspect", store], 0, MOST_SECONDS),
            "select": (["select", made], 0, MOST_SECONDS),
            "predict of four images": (["predict", made, *images], 0, MOST_SECONDS_PREDICT),
        }
        figures: list[Figure] = []
        for name, (words, code, most) in commands.items():
            cost = best_of(1 if options.quick else 5, words, code)
            figures.append(Figure(f"{name}: CPU seconds", cost.seconds, f"<= {most}"))
            figures.append(Figure(f"{name}: peak of memory, MB", cost.num_bytes / 1e6))
    return figures


if __name__ == "__main__":
    main(run, __doc__)
