"""One pass of the backbone over images, decoding included: the unit that the speed of training is measured in.

Time is CPU time on one core for both sides of a ratio, so that neither neighbours nor waiting count; on CUDA it is the
clock's.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from harness import BACKBONE, CHECKPOINT, SOURCES

from icecore.extract import ExtractSettings, extract, load_backbone, open_source

SOURCE = SOURCES["rsscn7"]
IMAGES_AT_ONCE = 32  # as `extract` does


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Return how long something takes."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    begin = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - begin


def make_store(folder: Path, num_images: int) -> str:
    """Extract a store whose training rows, validation included, are about so many images, all layers."""
    url = str(folder / "s.ice")
    limit = num_images * 2  # half of this source is its test split
    extract(SOURCE, url, ExtractSettings(backbone=BACKBONE, checkpoint=CHECKPOINT, dtype="float16", limit=limit))
    return url


class BackbonePass:
    """Reads, decodes and forwards batches of training images, keeping nothing."""

    def __init__(self, device: str) -> None:
        self._source = open_source(SOURCE)
        self.rows = [row for row, sample in enumerate(self._source.samples) if sample.split == "train"]
        self._backbone = load_backbone(BACKBONE, CHECKPOINT, device=device)
        self._layers = tuple(range(self._backbone.num_layers + 1))

    def tokens(self, rows: Sequence[int]) -> dict[int, torch.Tensor]:
        """Return the tokens of all layers of one batch."""
        images = [self._source.decode(self._source.read(row)) for row in rows]
        return self._backbone.forward(torch.stack([self._backbone.transform(image) for image in images]), self._layers)

    def batches(self, num_images: int) -> list[list[int]]:
        """Part images, spread over the training rows, into batches."""
        chosen = [self.rows[place * len(self.rows) // num_images] for place in range(num_images)]
        return [chosen[start : start + IMAGES_AT_ONCE] for start in range(0, num_images, IMAGES_AT_ONCE)]

    def run(self, num_images: int) -> None:
        """Make the pass."""
        for rows in self.batches(num_images):
            self.tokens(rows)
