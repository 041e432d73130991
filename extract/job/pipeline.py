"""Turns rows into tokens: decodes images ahead and runs a few batches at a time. Knows nothing of shards."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..backbone.backbone import Backbone
from ..rows.images import Images
from ..tokens import Reduction
from .ahead import map_ahead
from .threads import Threads


@dataclass(frozen=True, slots=True)
class Batch:
    """Ascending rows in one view, and the layers to read."""

    rows: Sequence[int]
    layers: tuple[int, ...]
    view: int = 0


@dataclass(frozen=True, slots=True)
class BatchTokens:
    """The result of a batch: the tokens of each layer for the decoded `rows`, and the cause for each failed row."""

    batch: Batch
    rows: list[int]
    tokens: Mapping[int, Float[Tensor, "row token width"]]
    failed: dict[int, str]


@dataclass(frozen=True, slots=True)
class Decoding:
    """A batch whose images are being decoded; each future gives the pixels of a row, or the cause of its failure."""

    batch: Batch
    pixels: Sequence[Future[UInt8[Tensor, "3 y x"] | str]]

    def wait(self) -> tuple[dict[int, UInt8[Tensor, "3 y x"]], dict[int, str]]:
        """Return the pixels by row, and the cause by failed row."""
        results = {row: future.result() for row, future in zip(self.batch.rows, self.pixels, strict=True)}
        pixels = {row: x for row, x in results.items() if isinstance(x, Tensor)}
        return pixels, {row: x for row, x in results.items() if isinstance(x, str)}


def decode_ahead(images: Images, batches: Iterable[Batch], pool: Executor) -> Iterator[Decoding]:
    """Yield each batch with its images submitted to the pool for decoding."""
    for batch in batches:
        yield Decoding(batch, [pool.submit(images.pixels, row, batch.view) for row in batch.rows])


def run_batches(
    images: Images,
    backbone: Backbone,
    reduction: Callable[[int], Reduction],
    batches: Iterable[Batch],
    threads: Threads,
) -> Generator[BatchTokens, None, None]:
    """Yield the tokens of each batch in order; a failed row makes its batch smaller and moves no row to another batch.

    At most `threads.num_ahead` batches beside the last one yielded are in memory, provided that the caller drops each
    result before the next.
    """
    run = partial(_run_batch, backbone, reduction)
    with (
        threads.pools() as (decoding, running),
        closing(map_ahead(running, run, decode_ahead(images, batches, decoding), threads.num_ahead)) as results,
    ):
        yield from results


def _run_batch(backbone: Backbone, reduction: Callable[[int], Reduction], decoding: Decoding) -> BatchTokens:
    pixels, failed = decoding.wait()
    batch = decoding.batch
    tokens = _forward(backbone, reduction, batch.layers, list(pixels.values())) if pixels else {}
    return BatchTokens(batch, list(pixels), tokens, failed)


def _forward(
    backbone: Backbone,
    reduction: Callable[[int], Reduction],
    layers: Sequence[int],
    pixels: Sequence[UInt8[Tensor, "3 y x"]],
) -> dict[int, Float[Tensor, "row token width"]]:
    images = backbone.transform.normalise(torch.stack(list(pixels)).to(backbone.device))
    tokens = backbone.forward(images, layers)
    return {layer: reduction(layer).reduce(tokens[layer]) for layer in layers}
