"""A feed gives batches of the rows of some layers; `StoreFeed` reads the rows from the store as they are needed.

The module knows rows, layers and how tokens are read; nothing of adapters. Sample index and buffer index: see the
package's docstring.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from icecore.store import LayerReader, Store

from ..targets.target import Labels
from .batch import POOLINGS, Reads, TokenBatch, make_batch
from .order import Batches, Pool, largest_batch, make_pool, walk_pool
from .transfer import Parts, moved
from .window import Window, plan, read_ahead, steps_of

BLOCK_ROWS = 128  # rows walked through at a time where no batch size is given
BLOCK_BYTES = 4 << 20  # of float32 tokens in such a block
NUM_READERS = 3  # requests in flight: as many as make a disk fast


@runtime_checkable
class Feed(Protocol):
    """Some rows of a store, in one or several views, as batches."""

    @property
    def num_rows(self) -> int:
        """The number of rows, each counted once whatever the number of views."""
        ...

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        """Yield the tokens of each batch of sample indices, from batch number `first` on."""
        ...


@dataclass(frozen=True)
class Data:
    """A feed with the label of each of its rows, and the group of each row where the store has groups."""

    feed: Feed
    labels: Labels
    groups: Int64[Tensor, " row"] | None = None


@dataclass(frozen=True, kw_only=True)
class StoreFeed:
    """Rows that are read from the store each time, about a shard ahead of their use.

    `rows` are indices in the store; `eps` is the epsilon of the backbone's norms; `dtype` is the type of tokens and
    normalised tokens in a batch. With `in_order` the feed keeps no shuffle pool: the sample indices must ascend.
    """

    store: Store
    rows: Int64[np.ndarray, " row"]
    layers: tuple[int, ...]
    reads: frozenset[Reads]
    eps: float
    device: torch.device
    dtype: torch.dtype = torch.float32
    num_views: int = 1
    in_order: bool = False
    _free: list[Window] = field(default_factory=list, init=False, compare=False)

    @property
    def num_rows(self) -> int:
        """The number of rows, each counted once whatever the number of views."""
        return len(self.rows)

    @property
    def num_samples(self) -> int:
        """The number of sample indices: every row in every view."""
        return len(self.rows) * self.num_views

    @cached_property
    def _readers(self) -> dict[int, LayerReader]:
        return {layer: self.store.layer(layer) for layer in self.layers}

    @cached_property
    def _row_bytes(self) -> int:
        return self.window(1).num_bytes

    def _pool(self, batch_size: int) -> Pool:
        """Return the pool in which `make_order` mixes the rows; `batch_size` is the size of the largest batch."""
        return (walk_pool if self.in_order else make_pool)(self.store, self.layers, batch_size)

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        """Yield the tokens of each batch of sample indices, from batch number `first` on, each chunk read once."""
        return map(self.decode, moved(self.encoded_batches(batches, first), self.device))

    def encoded_batches(self, batches: Batches, first: int = 0) -> Iterator[Window]:
        """Yield the encoded rows of each batch of sample indices; the next batch overwrites them."""
        largest = max(map(len, batches), default=0)
        if not largest:
            return
        pool = self._pool(largest)
        steps = steps_of(as_arrays(batches), pool.step_rows, first)
        if not steps:
            return
        sample_indices = np.concatenate([batch for step in steps for batch in step])
        views, row_indices = np.divmod(sample_indices, len(self.rows))
        chunks = views * self.store.num_rows + self.rows[row_indices] // pool.chunk_rows  # one number a view and chunk
        into = self.window(max(len(batch) for step in steps for batch in step))
        ahead = read_ahead(self, plan([np.concatenate(step) for step in steps], chunks))
        for step, (window, buffer_indices) in zip(steps, ahead, strict=True):
            for of_batch in np.split(buffer_indices, np.cumsum([len(batch) for batch in step])[:-1]):
                yield window.gather(of_batch, into)

    def batch(self, sample_indices: Int64[Tensor, " row"]) -> TokenBatch:
        """Return the tokens of one batch, read at once."""
        buffer_indices = np.arange(len(sample_indices))
        encoded = self.read(sample_indices.cpu().numpy(), self.window(len(buffer_indices)), buffer_indices)
        return self.decode(next(moved([encoded], self.device)))

    def decode(self, encoded: Parts) -> TokenBatch:
        """Return the batch that encoded arrays stand for, on their device."""
        tokens = {k: self._readers[k].decode(parts) for k, parts in encoded.items()}
        batch = make_batch(tokens, self.store.spec.layers, self.eps, self.reads)
        tokens, normalised = (
            {k: values.to(self.dtype) for k, values in table.items()} for table in (batch.tokens, batch.normalised)
        )
        return TokenBatch(batch.features, tokens, normalised)

    def window(self, num_rows: int) -> Window:
        """Return a new buffer for `num_rows` encoded rows, uninitialised."""
        return Window({k: reader.empty(num_rows) for k, reader in self._readers.items()})

    def borrow(self, num_rows: int) -> Window:
        """Return a buffer for at least `num_rows` rows: a returned buffer that is large enough, else a new one."""
        window = self._free.pop() if self._free else None
        return window if window is not None and window.num_rows >= num_rows else self.window(num_rows)

    def give_back(self, window: Window) -> None:
        """Keep a buffer for the next `borrow`."""
        self._free.append(window)

    def read(
        self,
        sample_indices: Int64[np.ndarray, " row"],
        into: Window,
        buffer_indices: Int64[np.ndarray, " row"],
    ) -> Window:
        """Read each sample to its buffer index in `into`, which is returned; every chunk is read once and checked."""
        views, row_indices = np.divmod(sample_indices, max(1, len(self.rows)))
        rows = self.rows[row_indices]

        def read_share(share: tuple[int, np.ndarray]) -> None:
            layer, chosen = share
            view = int(views[chosen[0]])
            self._readers[layer].read_into(into.parts[layer], buffer_indices[chosen], rows[chosen], view)

        shares = [
            (layer, chosen)
            for layer, reader in self._readers.items()
            for chosen in _shares(views, rows, reader.chunk_rows)
        ]
        with ThreadPoolExecutor(NUM_READERS, thread_name_prefix="reader") as threads:
            list(threads.map(read_share, shares))
        return into

    def decoded_bytes(self) -> int:
        """Return the bytes of all rows decoded, as `DecodedFeed` holds them."""
        specs = [self.store.spec.layers[layer] for layer in self.layers]
        token_bytes = len(self.reads & {"tokens", "normalised"}) * self.dtype.itemsize
        feature_bytes = len(POOLINGS) * 4 if "features" in self.reads else 0
        return sum(spec.width * (spec.num_tokens * token_bytes + feature_bytes) for spec in specs) * self.num_samples

    def encoded_bytes(self) -> int:
        """Return the bytes of all rows as the store encodes them, as `EncodedFeed` holds them."""
        return self._row_bytes * self.num_samples

    def streaming_bytes(self, batch_size: int) -> int:
        """Return the bytes of the encoded rows that are in memory at once while this feed reads batches."""
        if self.in_order:
            return self._row_bytes * min(self.num_rows, self._pool(batch_size).peak_rows)
        size = largest_batch(self.num_rows, batch_size)
        # A batch that straddles two steps keeps up to size - 1 rows longer; the gathered batch is a copy beside them.
        return self._row_bytes * (min(self.num_rows, self._pool(size).peak_rows + size - 1) + size)


def block_rows(store: Store, layers: tuple[int, ...]) -> int:
    """Return how many rows to walk through at a time so that their float32 tokens stay below `BLOCK_BYTES`."""
    row_bytes = 4 * sum(store.spec.layers[layer].num_tokens * store.spec.layers[layer].width for layer in layers)
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // row_bytes))


def as_arrays(batches: Batches) -> list[Int64[np.ndarray, " _row"]]:
    """Return batches of sample indices as NumPy arrays, copied from their device in one transfer."""
    if not batches:
        return []
    return np.split(torch.cat(tuple(batches)).cpu().numpy(), np.cumsum([len(batch) for batch in batches])[:-1])


def _shares(views: np.ndarray, rows: np.ndarray, chunk_rows: int) -> list[np.ndarray]:
    """Split a request of samples among the readers; return the indices into the request of each share.

    The samples of a share have one view and ascending rows, and no chunk is split between two shares.
    """
    order = np.lexsort((rows, views))
    views, chunks = views[order], rows[order] // chunk_rows
    starts = np.flatnonzero(np.append(True, (np.diff(chunks) != 0) | (np.diff(views) != 0)))
    borders = starts[:: max(1, len(starts) // NUM_READERS)]
    borders = np.union1d(borders, np.flatnonzero(np.append(True, np.diff(views) != 0)))
    return np.split(order, borders[1:]) if len(rows) else []
