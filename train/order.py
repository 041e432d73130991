"""The order of the rows in an epoch: a function of the seed, the epoch and the store's layout, and of nothing else.

Where all rows fit in a window of a few shards it is a plain shuffle. Beyond, chunks go in random order and rows are
shuffled within windows, so that a reader that holds a window reads every chunk once. Chunks rather than whole shards:
a window then mixes as many places of the store as it has chunks, which matters where rows are sorted by class. Memory
has no say, so rows that are held and rows that are streamed teach the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from icecore.store import Store

WINDOW_SHARDS = 4
LEAST_CHUNKS = 8  # where shards are small


@dataclass(frozen=True)
class Order:
    """The order of some rows; a `place` is where a row is among them, plus their number times its view."""

    rows: Int64[np.ndarray, " row"]
    chunk_rows: int
    window_rows: int
    num_views: int
    seed: int

    def epoch(self, epoch: int) -> Int64[Tensor, " row"]:
        """Return every row once, in one of its views."""
        generator = torch.Generator().manual_seed((self.seed << 32) + epoch)
        places = self._shuffled(generator)
        if self.num_views == 1:
            return places
        views = torch.randint(self.num_views, (len(self.rows),), generator=generator)
        return places + len(self.rows) * views[places]

    def _shuffled(self, generator: torch.Generator) -> Int64[Tensor, " row"]:
        if len(self.rows) <= self.window_rows:
            return torch.randperm(len(self.rows), generator=generator)
        _, chunks = np.unique(self.rows // self.chunk_rows, return_inverse=True)
        ranks = torch.randperm(int(chunks.max()) + 1, generator=generator)[torch.from_numpy(chunks)]
        windows = torch.argsort(ranks, stable=True).split(self.window_rows)
        return torch.cat([window[torch.randperm(len(window), generator=generator)] for window in windows])


def make_order(store: Store, rows: Int64[np.ndarray, " row"], batch_size: int, seed: int) -> Order:
    """Return the order of some rows of a store, in batches of some size."""
    return Order(rows, _chunk_rows(store), window_rows(store, batch_size), store.identity.views, seed)


def window_rows(store: Store, batch_size: int) -> int:
    """Return the rows of a window: some shards, in whole batches so that no batch needs two windows."""
    rows = max(WINDOW_SHARDS * store.shard_rows, LEAST_CHUNKS * _chunk_rows(store))
    return max(1, rows // batch_size) * batch_size


def _chunk_rows(store: Store) -> int:
    return max(store.layer(layer).chunk_rows for layer in store.layers)
