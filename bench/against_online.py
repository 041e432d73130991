"""What training from a store saves: 20 epochs of adapters on all 13 layers, against the backbone in every step.

A = `train` and `select` from a finished store, 16 configurations of InCA a layer; B = the same adapters trained as the
paper does: every step decodes and forwards its images once, and steps every adapter of every layer on the tokens. B is
measured twice: with adapters on torch's own attention (`fold.py`), and with this project's own stacked adapters, so
that only the backbone differs. Both on one core, in CPU seconds. B is extrapolated: images from some batches; adapters
from some steps of one torch probe, and from A's own time, which also counts A's reading in B's favour. `--full` adds
full fine-tuning, accuracy and memory included (`against_full.py`).
"""

import argparse
import statistics

import torch
from against_full import against_full
from backbone_pass import BackbonePass, make_store, seconds_of
from fold import BATCH_SIZE, NUM_ADAPTERS, probe_step
from harness import Figure, main, scratch
from sweep import settings_of

from icecore.store import open_store
from icecore.train import SelectSettings, select, train


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    num_images, num_measured = (128, 64) if options.quick else (1000, 320)
    settings = {halving: settings_of(options, halving) for halving in (False, True)}
    with scratch() as folder:
        url = make_store(folder, num_images)
        store = open_store(url)
        num_rows, num_classes = len(store.rows("train")), len(store.classes)
        torch.set_num_threads(1)
        backbone = BackbonePass(options.device)
        tokens = backbone.tokens(backbone.rows[:BATCH_SIZE])[6].float()
        labels = torch.arange(BATCH_SIZE, device=tokens.device) % num_classes
        steps = [
            probe_step(tokens.to(dtype), labels, num_classes, options) for dtype in (torch.float32, torch.bfloat16)
        ]
        image = statistics.median(
            seconds_of(lambda: backbone.run(num_measured), options.device) / num_measured for _ in range(3)
        )
        ours = {}
        for halving in (False, True):
            out = str(folder / f"{halving}.run")
            took = seconds_of(lambda: train(url, out, settings[halving]), options.device)  # noqa: B023
            ours[halving] = took + seconds_of(lambda: select(out, SelectSettings()), options.device)  # noqa: B023
        beside = against_full(folder, options) if options.full else []
    layers = 2 if options.quick else len(store.layers)
    epochs = settings[False].epochs
    num_steps = epochs * -(-round(0.8 * num_rows) // BATCH_SIZE)
    forwards = epochs * num_rows * image  # training and validation rows, every epoch
    as_written = forwards + num_steps * layers * NUM_ADAPTERS * min(steps)
    return [
        *beside,
        Figure("seconds from the store, halving off", ours[False]),
        Figure("seconds from the store, halving on", ours[True]),
        Figure("seconds of the backbone in every step, without adapters", forwards),
        Figure("seconds online, adapters on torch's attention", as_written),
        Figure("online, stacked adapters / from the store, halving off", (forwards + ours[False]) / ours[False]),
        Figure("online, stacked adapters / from the store, halving on", (forwards + ours[False]) / ours[True]),
        Figure("online / from the store, halving on", as_written / ours[True]),
        Figure("online / from the store, halving off", as_written / ours[False], ">= 20"),
    ]


def more(options: argparse.ArgumentParser) -> None:
    """Add what this script alone is asked."""
    options.add_argument("--full", action="store_true", help="full fine-tuning as well: it takes longer than the rest")


if __name__ == "__main__":
    main(run, __doc__, more)
