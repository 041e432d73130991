"""From rows to tokens: decode in threads ahead of the forward. Knows nothing of shards, or of who takes the tokens."""

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .ahead import map_ahead
from .backbone import Backbone
from .images import Images
from .tokens import Reduction

BATCHES_DECODED_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """Some ascending rows, and the layers that are wanted of them."""

    rows: Sequence[int]
    layers: tuple[int, ...]


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
    reductions: Mapping[int, Reduction],
    batches: Sequence[Batch],
    num_decoders: int,
    num_threads: int,
) -> Generator[BatchTokens, None, None]:
    """Yield the tokens of each batch in order. A row that fails makes its batch smaller, and moves no other row.

    The forward uses `num_threads` of the thread that iterates, whatever other threads chose for themselves.
    """
    torch.set_num_threads(num_threads)
    with (
        ThreadPoolExecutor(num_decoders, thread_name_prefix="decode") as pool,
        closing(map_ahead(pool, images.pixels, (batch.rows for batch in batches), BATCHES_DECODED_AHEAD)) as decoded,
    ):
        for batch, results in zip(batches, decoded, strict=True):
            pixels = {row: x for row, x in zip(batch.rows, results, strict=True) if isinstance(x, Tensor)}
            failed = {row: x for row, x in zip(batch.rows, results, strict=True) if isinstance(x, str)}
            tokens = _forward(backbone, reductions, batch.layers, list(pixels.values())) if pixels else {}
            yield BatchTokens(batch, list(pixels), tokens, failed)


def _forward(
    backbone: Backbone,
    reductions: Mapping[int, Reduction],
    layers: Sequence[int],
    pixels: Sequence[UInt8[Tensor, "3 y x"]],
) -> dict[int, Float[Tensor, "row token width"]]:
    images = backbone.transform.normalise(torch.stack(list(pixels)).to(backbone.device))
    tokens = backbone.forward(images, layers)
    return {layer: reductions[layer].reduce(tokens[layer]) for layer in layers}
