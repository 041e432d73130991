"""The order of the rows in an epoch: a function of the seed, the epoch and the layout of the store alone.

Chunks enter a pool of a few shards' rows in random order, and rows leave the pool at random, about a shard's worth at a
time: a plain shuffle where all rows fit in the pool, a shuffle without block borders where they do not. A reader that
holds the pool in memory reads every chunk once. The order does not depend on the memory that is available, so rows that
are held in memory and rows that are streamed train the same adapters.

The batches of an epoch differ by at most one row in size and are as near to the batch size as that allows. There is no
small last batch, whose statistics would weigh as much as those of a whole batch, and one row more or less in the store
rarely changes the number of steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from icecore.store import Store

Batches = Sequence[Int64[Tensor, " _row"]]

RULE = 2  # version of orders and batches: an epoch begun under one version cannot be continued under another
SEED_STRIDE = 1_000_003  # between the generator seeds of two seeds' epochs; a generator takes 32 bits
POOL_SHARDS = 8
MIN_POOL_CHUNKS = 16  # where a shard has few chunks


@dataclass(frozen=True)
class Pool:
    """The sizes of the shuffle pool: its rows, the rows that leave and enter at a time, and the rows of a chunk."""

    num_rows: int
    step_rows: int
    chunk_rows: int

    @property
    def peak_rows(self) -> int:
        """The rows that a reader holds at most: the pool, a step that has just left, and the rest of a chunk."""
        return self.num_rows + self.step_rows + self.chunk_rows - 1


@dataclass(frozen=True)
class Order:
    """The order of some rows, as sample indices (see the package's docstring).

    >>> import numpy as np
    >>> order = Order(np.arange(6), Pool(num_rows=4, step_rows=2, chunk_rows=2), num_views=1, seed=0)
    >>> sorted(order.epoch(1).tolist())
    [0, 1, 2, 3, 4, 5]
    """

    rows: Int64[np.ndarray, " row"]
    pool: Pool
    num_views: int
    seed: int

    def epoch(self, epoch: int) -> Int64[Tensor, " row"]:
        """Return the sample indices of an epoch, counted from 1: every row once, in a view drawn at random."""
        generator = torch.Generator().manual_seed((self.seed * SEED_STRIDE + epoch) % 2**32)
        row_indices = self._shuffled(generator)
        if self.num_views == 1:
            return row_indices
        views = torch.randint(self.num_views, (len(self.rows),), generator=generator)
        return row_indices + len(self.rows) * views[row_indices]

    def _shuffled(self, generator: torch.Generator) -> Int64[Tensor, " row"]:
        entering = self._chunk_by_chunk(generator)
        pool, leaving = entering[: self.pool.num_rows], list[Tensor]()
        for step in entering[self.pool.num_rows :].split(self.pool.step_rows):
            pool = pool[torch.randperm(len(pool), generator=generator)]
            leaving.append(pool[: self.pool.step_rows])
            pool = torch.cat([pool[self.pool.step_rows :], step])
        return torch.cat([*leaving, pool[torch.randperm(len(pool), generator=generator)]])

    def _chunk_by_chunk(self, generator: torch.Generator) -> Int64[Tensor, " row"]:
        """Return all row indices, the chunks in random order and the rows of a chunk in the store's order."""
        _, chunks = np.unique(self.rows // self.pool.chunk_rows, return_inverse=True)
        ranks = torch.randperm(int(chunks.max()) + 1, generator=generator)[torch.from_numpy(chunks)]
        return torch.argsort(ranks, stable=True)


def even_batches(sample_indices: Int64[Tensor, " row"], batch_size: int) -> Batches:
    """Split sample indices into batches that differ by at most one in size, as near to `batch_size` as possible.

    >>> import torch
    >>> [len(batch) for batch in even_batches(torch.arange(10), 4)]
    [4, 3, 3]
    """
    return sample_indices.tensor_split(_num_batches(len(sample_indices), batch_size))


def largest_batch(num_rows: int, batch_size: int) -> int:
    """Return the size of the largest of the even batches of `num_rows` rows."""
    return max(1, math.ceil(num_rows / _num_batches(num_rows, batch_size)))


def _num_batches(num_rows: int, batch_size: int) -> int:
    return max(1, math.floor(num_rows / batch_size + 0.5))


def make_order(
    store: Store, layers: Sequence[int], rows: Int64[np.ndarray, " row"], batch_size: int, seed: int
) -> Order:
    """Return the order in which training reads some layers of some rows of a store, for even batches."""
    return Order(rows, make_pool(store, layers, largest_batch(len(rows), batch_size)), store.identity.views, seed)


def make_pool(store: Store, layers: Sequence[int], batch_size: int) -> Pool:
    """Return a pool that takes, with the batches, the memory of eight shards; more only for very large batches."""
    chunk_rows = max(store.layer(layer).chunk_rows for layer in layers)
    step_rows = _step_rows(store, batch_size)
    total_rows = max(POOL_SHARDS * store.shard_rows, MIN_POOL_CHUNKS * chunk_rows)
    # Two batches are in memory beside the pool: the gathered batch, and one that straddles the end of a step.
    num_rows = max(step_rows, total_rows - step_rows - chunk_rows - 2 * batch_size)
    return Pool(num_rows=num_rows, step_rows=step_rows, chunk_rows=chunk_rows)


def walk_pool(store: Store, layers: Sequence[int], batch_size: int) -> Pool:
    """Return the pool for reading rows in the store's order: one step of rows, and no mixing."""
    step_rows = _step_rows(store, batch_size)
    return Pool(num_rows=step_rows, step_rows=step_rows, chunk_rows=1)


def _step_rows(store: Store, batch_size: int) -> int:
    """Return the rows of about one shard, in whole batches."""
    return max(1, store.shard_rows // batch_size) * batch_size
