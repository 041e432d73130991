"""What a whole selection costs: 13 layers x 16 configurations of InCA x 20 epochs, in passes of the backbone.

A = `train` from a finished store, reading, validation and writing included, with and without `--halving`; B = one pass
of the backbone, decoding included, over the images that A trains and validates on. Both on one core, in CPU seconds. B
is measured over some of the images and taken for all of them.
"""

import argparse
import shutil
from pathlib import Path

import torch
from backbone_pass import BackbonePass, make_store, seconds_of
from harness import Figure, main, scratch

from icecore.store import open_store
from icecore.train import TrainSettings, train

NUM_IMAGES = 1000
LR, WEIGHT_DECAY = (3e-4, 1e-3, 3e-3, 1e-2), (0.001, 0.01, 0.1, 0.3)


def settings_of(options: argparse.Namespace, halving: bool) -> TrainSettings:
    """Return the sweep."""
    return TrainSettings(
        adapters=("inca",),
        layers="3,9" if options.quick else "all",
        lr=LR,
        weight_decay=WEIGHT_DECAY,
        epochs=2 if options.quick else 20,
        halving=halving,
        device=options.device,
    )


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    num_images, num_measured, rounds = (128, 64, 1) if options.quick else (NUM_IMAGES, 320, 2)
    found: dict[str, list[float]] = {"pass": [], "off": [], "on": []}
    with scratch() as folder:
        store = make_store(folder, num_images)
        num_rows = open_store(store).splits["train"]
        torch.set_num_threads(1)
        backbone = BackbonePass(options.device)
        backbone.run(64)  # warms caches
        for _ in range(rounds):
            part = seconds_of(lambda: backbone.run(num_measured), options.device)
            found["pass"].append(part * num_rows / num_measured)
            for name in ("off", "on"):
                found[name].append(_train(options, store, folder / name, name == "on"))
            print({name: round(values[-1], 2) for name, values in found.items()}, flush=True)
    least = {name: min(values) for name, values in found.items()}  # what neighbours add to a cache is never negative
    return [
        Figure(f"seconds of one pass over {num_rows} images", least["pass"]),
        Figure("seconds of the sweep, halving off", least["off"]),
        Figure("seconds of the sweep, halving on", least["on"]),
        Figure(
            "images a second, each once an epoch of an adapter, halving off",
            _num_seen(options, num_rows) / least["off"],
        ),
        Figure("halving off: sweep / pass", least["off"] / least["pass"], "<= 2.0"),
        Figure("halving on: sweep / pass", least["on"] / least["pass"], "<= 0.6"),
    ]


def _num_seen(options: argparse.Namespace, num_rows: int) -> int:
    settings, num_layers = settings_of(options, False), 2 if options.quick else 13
    return num_rows * num_layers * len(LR) * len(WEIGHT_DECAY) * settings.epochs


def _train(options: argparse.Namespace, store: str, out: Path, halving: bool) -> float:
    shutil.rmtree(out, ignore_errors=True)
    return seconds_of(lambda: train(store, str(out), settings_of(options, halving)), options.device)


if __name__ == "__main__":
    main(run, __doc__)
