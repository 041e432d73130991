"""Feeds that hold all of their rows in memory: decoded on the device that trains, or as the store encodes them.

Both give the same batches as the `StoreFeed` that they are made from.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from .batch import TokenBatch
from .feed import StoreFeed, as_arrays, block_rows
from .order import Batches
from .transfer import moved


class DecodedFeed:
    """Decoded rows on the device that trains: a batch costs one gather."""

    def __init__(self, feed: StoreFeed) -> None:
        self.num_rows = feed.num_rows
        self._held = _empty(feed)
        size, start = block_rows(feed.store, feed.layers), 0
        for batch in feed.batches(torch.arange(feed.num_samples).split(size)):
            for held, read in zip(_tables(self._held), _tables(batch), strict=True):
                for layer, values in read.items():
                    held[layer][start : start + len(values)] = values
            start += size

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        """Yield the tokens of each batch of sample indices, from batch number `first` on."""
        return map(self.batch, batches[first:])

    def batch(self, sample_indices: Int64[Tensor, " row"]) -> TokenBatch:
        """Return the tokens of one batch of sample indices."""
        tables = _tables(self._held)
        return TokenBatch(*[{layer: _take(held, sample_indices) for layer, held in table.items()} for table in tables])


class EncodedFeed:
    """Encoded rows in the memory of the process: a half or a quarter of the bytes, decoded anew for every batch."""

    def __init__(self, feed: StoreFeed) -> None:
        self.num_rows = feed.num_rows
        self._feed = feed
        sample_indices = np.arange(feed.num_samples)  # each is read to the buffer index of the same number
        self._window = feed.read(sample_indices, feed.window(feed.num_samples), sample_indices)

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        """Yield the tokens of each batch of sample indices, from batch number `first` on."""
        into = self._feed.window(max(map(len, batches), default=1))
        encoded = (self._window.gather(batch, into) for batch in as_arrays(batches)[first:])
        return map(self._feed.decode, moved(encoded, self._feed.device))


def _tables(batch: TokenBatch) -> tuple[Mapping[int, Tensor], ...]:
    return batch.features, batch.tokens, batch.normalised


def _empty(feed: StoreFeed) -> TokenBatch:
    """Return uninitialised tables for all samples of a feed, with the shapes and types of its first row."""
    first_row = _tables(feed.batch(torch.arange(min(1, feed.num_rows))))
    return TokenBatch(*[{k: _room(v, feed.num_samples) for k, v in table.items()} for table in first_row])


def _room(like: Tensor, num_rows: int) -> Tensor:
    """Return an uninitialised tensor with `num_rows` rows of the shape, type and device of `like`."""
    shape = (num_rows, *like.shape[1:])
    if like.device.type != "cpu" or not num_rows:
        return like.new_empty(shape)
    # NumPy asks the system for huge pages, PyTorch does not: a tenth of the page faults.
    room = np.empty(math.prod(shape) * like.element_size(), np.uint8)
    return torch.from_numpy(room).view(like.dtype).view(shape)


def _take(held: Tensor, sample_indices: Int64[Tensor, " row"]) -> Tensor:
    """Gather rows as 8-byte integers where a row's bytes divide by 8: several times faster than as bfloat16."""
    flat = held.view(len(held), -1)
    if flat.shape[1] * flat.element_size() % 8:
        return held[sample_indices]
    wide = flat.view(torch.int64).index_select(0, sample_indices)
    return wide.view(held.dtype).view(len(sample_indices), *held.shape[1:])
