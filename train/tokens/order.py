"""The order of the rows in an epoch: a function of the seed, the epoch and the layout of what is read alone.

Chunks go in random order into a pool of a few shards' rows, and rows leave it at random from all of it, a shard's worth
at a time: a plain shuffle where all rows fit, and beyond it one without borders, for which a reader that holds a pool
reads every chunk once. Memory has no say, so rows that are held and rows that are streamed teach the same.

The batches of an epoch are alike in size, and as near to the batch size as that allows: a little larger or smaller.
What the number of rows leaves when it is divided by the batch size is no batch of its own, whose statistics would weigh
as much as those of a whole one, and one row more or less is hardly ever a step more or less.
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

RULE = 2  # of orders and batches: an epoch that was begun under another rule cannot be ended under this one
SPREAD = 1_000_003  # between the epochs of one seed and those of the next: a generator takes 32 bits and no more
ROOM_SHARDS = 8
LEAST_CHUNKS = 16  # where shards are small


@dataclass(frozen=True)
class Pool:
    """Where rows are mixed: how many, how many leave and come at a time, and how many are read together."""

    num_rows: int
    step_rows: int
    chunk_rows: int

    @property
    def room_rows(self) -> int:
        """The rows that a reader holds at most, with those that have just left."""
        return self.num_rows + self.step_rows + self.chunk_rows - 1


@dataclass(frozen=True)
class Order:
    """The order of some rows; a `place` is where a row is among them, plus their number times its view."""

    rows: Int64[np.ndarray, " row"]
    pool: Pool
    num_views: int
    seed: int

    def epoch(self, epoch: int) -> Int64[Tensor, " row"]:
        """Return every row once, in one of its views."""
        generator = torch.Generator().manual_seed((self.seed * SPREAD + epoch) % 2**32)
        places = self._shuffled(generator)
        if self.num_views == 1:
            return places
        views = torch.randint(self.num_views, (len(self.rows),), generator=generator)
        return places + len(self.rows) * views[places]

    def _shuffled(self, generator: torch.Generator) -> Int64[Tensor, " row"]:
        coming = self._chunk_by_chunk(generator)
        pool, leaving = coming[: self.pool.num_rows], list[Tensor]()
        for some in coming[self.pool.num_rows :].split(self.pool.step_rows):
            pool = pool[torch.randperm(len(pool), generator=generator)]
            leaving.append(pool[: self.pool.step_rows])
            pool = torch.cat([pool[self.pool.step_rows :], some])
        return torch.cat([*leaving, pool[torch.randperm(len(pool), generator=generator)]])

    def _chunk_by_chunk(self, generator: torch.Generator) -> Int64[Tensor, " row"]:
        _, chunks = np.unique(self.rows // self.pool.chunk_rows, return_inverse=True)
        ranks = torch.randperm(int(chunks.max()) + 1, generator=generator)[torch.from_numpy(chunks)]
        return torch.argsort(ranks, stable=True)


def even_batches(places: Int64[Tensor, " row"], batch_size: int) -> Batches:
    """Part places into batches whose sizes differ by one at most, as near to `batch_size` as may be; drop none."""
    return places.tensor_split(_num_batches(len(places), batch_size))


def largest_batch(num_rows: int, batch_size: int) -> int:
    """Return the size of the largest of the even batches."""
    return max(1, math.ceil(num_rows / _num_batches(num_rows, batch_size)))


def _num_batches(num_rows: int, batch_size: int) -> int:
    return max(1, math.floor(num_rows / batch_size + 0.5))


def make_order(
    store: Store, layers: Sequence[int], rows: Int64[np.ndarray, " row"], batch_size: int, seed: int
) -> Order:
    """Return the order in which some layers of some rows of a store are read, for even batches."""
    return Order(rows, make_pool(store, layers, largest_batch(len(rows), batch_size)), store.identity.views, seed)


def make_pool(store: Store, layers: Sequence[int], batch_size: int) -> Pool:
    """Return the pool that takes eight shards' memory, more only for very large batches.

    Two batches are counted: the one that is gathered, and one that has not left the pool altogether when a step ends.
    """
    chunk_rows = max(store.layer(layer).chunk_rows for layer in layers)
    step_rows = _step_rows(store, batch_size)
    room_rows = max(ROOM_SHARDS * store.shard_rows, LEAST_CHUNKS * chunk_rows)
    return Pool(max(step_rows, room_rows - step_rows - chunk_rows - 2 * batch_size), step_rows, chunk_rows)


def walk_pool(store: Store, layers: Sequence[int], batch_size: int) -> Pool:
    """Return what mixes nothing, for whoever walks through rows as they lie."""
    step_rows = _step_rows(store, batch_size)
    return Pool(step_rows, step_rows, chunk_rows=1)


def _step_rows(store: Store, batch_size: int) -> int:
    """Return about a shard, in whole batches."""
    return max(1, store.shard_rows // batch_size) * batch_size
