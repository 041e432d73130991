"""What folding and stacking save: 16 InCA adapters on one layer, against 16 probes on torch's own attention.

A = one epoch of `train`'s own step over the 16 adapters together, the rows read from the store included; B = one epoch
of 16 modules with `nn.MultiheadAttention`, one after the other, from the same tokens in memory, in float32 and in
bfloat16, whichever is faster. Both on one core, in CPU seconds, AdamW, batches of 64. B is measured over some steps of
one probe and taken for all. Also: one adapter-epoch, training and validation, in passes of the backbone.
"""

import argparse
import statistics

import numpy as np
import torch
from backbone_pass import BackbonePass, make_store, seconds_of
from harness import Figure, main, scratch
from sweep import LR, WEIGHT_DECAY
from torch import Tensor, nn

from icecore.store import open_store
from icecore.train import TrainSettings, train

LAYER, BATCH_SIZE = 6, 64
NUM_ADAPTERS = len(LR) * len(WEIGHT_DECAY)


class Probe(nn.Module):
    """InCA as written: a learned query, cross-attention to the normalised tokens, a norm, a classifier."""

    def __init__(self, width: int, num_heads: int, num_classes: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_classes))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of a batch."""
        seen = self.norm(tokens)
        return self.out(self.attention(self.query.expand(len(tokens), -1, -1), seen, seen, need_weights=False)[0][:, 0])


def probe_step(tokens: Tensor, labels: Tensor, num_classes: int, options: argparse.Namespace) -> float:
    """Return the seconds of one step of one probe."""
    probe = Probe(tokens.shape[-1], tokens.shape[-1] // 64, num_classes).to(tokens.device, tokens.dtype)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(probe(tokens).float(), labels).backward()
        optimizer.step()

    step()
    return min(seconds_of(step, options.device) for _ in range(2 if options.quick else 6))


def stacked(store: str, folder: str, epochs: int, options: argparse.Namespace) -> float:
    """Return the seconds of training all adapters, from opening the store on."""
    settings = TrainSettings(
        adapters=("inca",), layers=str(LAYER), lr=LR, weight_decay=WEIGHT_DECAY, epochs=epochs, device=options.device
    )
    return seconds_of(lambda: train(store, f"{folder}/{epochs}.run", settings), options.device)


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    num_images, num_measured, rounds = (128, 64, 1) if options.quick else (1000, 192, 3)
    with scratch() as folder:
        url = make_store(folder, num_images)
        store = open_store(url)
        rows, num_classes = store.rows("train"), len(store.classes)
        labels = torch.from_numpy(store.labels[rows[:BATCH_SIZE]]).to(options.device)
        tokens = store.layer(LAYER).rows(np.asarray(rows[:BATCH_SIZE])).to(options.device)
        torch.set_num_threads(1)
        backbone = BackbonePass(options.device)
        backbone.run(64)
        found: dict[str, list[float]] = {"one": [], "more": [], "float32": [], "bfloat16": [], "pass": []}
        for number in range(rounds):
            found["one"].append(stacked(url, f"{folder}/{number}", 1, options))
            found["more"].append(stacked(url, f"{folder}/{number}", 5, options))
            for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
                found[name].append(probe_step(tokens.to(dtype), labels, num_classes, options))
            found["pass"].append(seconds_of(lambda: backbone.run(num_measured), options.device) / num_measured)
    middle = {name: statistics.median(values) for name, values in found.items()}
    num_steps = -(-round(0.8 * len(rows)) // BATCH_SIZE)
    probes = {name: middle[name] * num_steps * NUM_ADAPTERS for name in ("float32", "bfloat16")}
    epoch = (middle["more"] - middle["one"]) / 4  # of all adapters, training and validation
    return [
        Figure(f"seconds of {NUM_ADAPTERS} stacked adapters, reading, one epoch, writing", middle["one"]),
        Figure("seconds of each further epoch", epoch),
        *[Figure(f"seconds of {NUM_ADAPTERS} probes one by one, {name}", took) for name, took in probes.items()],
        Figure("one adapter-epoch: 1 / this many passes of the backbone",
               middle["pass"] * len(rows) / (epoch / NUM_ADAPTERS), ">= 2500"),
        Figure("probes / stacked, an epoch from memory each", min(probes.values()) / epoch),
        Figure("probes / stacked, an epoch from the store", min(probes.values()) / middle["one"], ">= 50"),
    ]  # fmt: skip


if __name__ == "__main__":
    main(run, __doc__)
