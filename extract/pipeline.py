"""From rows to tokens, a batch in each of several threads. Knows nothing of shards, or of who takes the tokens."""

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .ahead import map_ahead
from .backbone import Backbone
from .images import Images
from .tokens import Reduction


@dataclass(frozen=True, slots=True)
class Batch:
    """Some ascending rows in one view, and the layers that are wanted of them."""

    rows: Sequence[int]
    layers: tuple[int, ...]
    view: int = 0


@dataclass(frozen=True, slots=True)
class BatchTokens:
    """The tokens of the rows that could be decoded, and why the others could not."""

    batch: Batch
    rows: list[int]
    tokens: Mapping[int, Float[Tensor, "row token width"]]
    failed: dict[int, str]


def run_batches(
    images: Images,
    backbone: Backbone,
    reduction: Callable[[int], Reduction],
    batches: Sequence[Batch],
    num_threads: int,
    num_cores: int,
) -> Generator[BatchTokens, None, None]:
    """Yield the tokens of each batch in order. A row that fails makes its batch smaller, and moves no other row.

    Each thread decodes and runs whole batches, with its share of the cores for products: threads that share one product
    wait for the slowest of them at every step (two cores, one of them a third busy with writing: 54 rows/s, not 81).
    """
    share = max(1, num_cores // num_threads)
    run = partial(_run_batch, images, backbone, reduction)
    with (
        ThreadPoolExecutor(num_threads, "batch", torch.set_num_threads, (share,)) as pool,
        closing(map_ahead(pool, run, batches, num_threads + 1)) as results,
    ):
        yield from results


def _run_batch(images: Images, backbone: Backbone, reduction: Callable[[int], Reduction], batch: Batch) -> BatchTokens:
    results = {row: images.pixels(row, batch.view) for row in batch.rows}
    pixels = {row: x for row, x in results.items() if isinstance(x, Tensor)}
    failed = {row: x for row, x in results.items() if isinstance(x, str)}
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
