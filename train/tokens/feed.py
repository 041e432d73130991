"""The rows of some layers, as batches: straight from the store, or held in memory in one of two forms.

Knows which rows and layers, and what is made of their tokens; nothing of adapters.
"""

import math
from collections.abc import Iterator, Mapping
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

BLOCK_ROWS = 128  # walked through at a time where nothing else says how many
BLOCK_BYTES = 4 << 20  # of float32 tokens in such a block
NUM_READERS = 3  # requests in flight: what a disk is fast with


@runtime_checkable
class Feed(Protocol):
    """Some rows, in every view that is wanted; a place is a row's place, plus their number times the view."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        ...

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        """Walk through batches of places, from batch number `first` on: what adapters see of them."""
        ...


@dataclass(frozen=True)
class StoreFeed:
    """Rows read from the store each time they are asked for, a shard's worth ahead of whoever asks."""

    store: Store
    rows: Int64[np.ndarray, " row"]
    layers: tuple[int, ...]
    reads: frozenset[Reads]
    eps: float
    device: torch.device
    dtype: torch.dtype = torch.float32
    num_views: int = 1
    in_order: bool = False  # whoever walks in order needs no pool to mix rows in
    _free: list[Window] = field(default_factory=list, init=False, compare=False)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    @property
    def num_places(self) -> int:
        """How many rows there are, every view counted."""
        return len(self.rows) * self.num_views

    @cached_property
    def _readers(self) -> dict[int, LayerReader]:
        return {layer: self.store.layer(layer) for layer in self.layers}

    def _pool(self, batch_size: int) -> Pool:
        """Return the pool that the rows are mixed in, as `make_order` does; `batch_size` is that of the largest."""
        return (walk_pool if self.in_order else make_pool)(self.store, self.layers, batch_size)

    @cached_property
    def _row_bytes(self) -> int:
        return self.window(1).num_bytes

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        """Read rows chunk by chunk, a step ahead, and hand them out in batches."""
        return map(self.seen, moved(self.stored(batches, first), self.device))

    def stored(self, batches: Batches, first: int = 0) -> Iterator[Window]:
        """Walk through batches of places as they are stored, each overwritten by the next."""
        largest = max(map(len, batches), default=0)
        if not largest:
            return
        pool = self._pool(largest)
        steps = steps_of(_as_arrays(batches), pool.step_rows, first)
        if not steps:
            return
        left = np.concatenate([batch for step in steps for batch in step])
        views, rows = np.divmod(left, len(self.rows))
        chunks = views * self.store.num_rows + self.rows[rows] // pool.chunk_rows
        into = self.window(max(len(batch) for step in steps for batch in step))
        ahead = read_ahead(self, plan([np.concatenate(step) for step in steps], chunks))
        for step, (window, slots) in zip(steps, ahead, strict=True):
            for mine in np.split(slots, np.cumsum([len(batch) for batch in step])[:-1]):
                yield window.gather(mine, into)

    def batch(self, places: Int64[Tensor, " row"]) -> TokenBatch:
        """Read some rows."""
        stored = self.read(places.cpu().numpy(), self.window(len(places)), np.arange(len(places)))
        return self.seen(next(moved([stored], self.device)))

    def seen(self, stored: Parts) -> TokenBatch:
        """Make of stored tokens what adapters see."""
        tokens = {k: self._readers[k].decode(parts) for k, parts in stored.items()}
        return _cast(make_batch(tokens, self.store.spec.layers, self.eps, self.reads), self.dtype)

    def window(self, num_rows: int) -> Window:
        """Return room for some rows as they are stored."""
        return Window({k: reader.empty(num_rows) for k, reader in self._readers.items()})

    def borrow(self, num_rows: int) -> Window:
        """Return a window with room for some rows, one given back if there is."""
        room = self._free.pop() if self._free else None
        return room if room is not None and room.num_rows >= num_rows else self.window(num_rows)

    def give_back(self, window: Window) -> None:
        """Keep a window for whoever borrows next."""
        self._free.append(window)

    def read(self, places: Int64[np.ndarray, " row"], into: Window, slots: Int64[np.ndarray, " row"]) -> Window:
        """Read rows to their slots of a window; every chunk is read once and checked."""
        views, rows = np.divmod(places, max(1, len(self.rows)))
        rows = self.rows[rows]

        def fill(piece: tuple[int, np.ndarray]) -> None:
            layer, where = piece
            self._readers[layer].read_into(into.parts[layer], slots[where], rows[where], int(views[where[0]]))

        pieces = [(k, where) for k, one in self._readers.items() for where in _shares(views, rows, one.chunk_rows)]
        with ThreadPoolExecutor(NUM_READERS, thread_name_prefix="reader") as pool:
            list(pool.map(fill, pieces))
        return into

    def num_bytes(self) -> int:
        """Return the bytes of all rows when held ready."""
        specs = [self.store.spec.layers[layer] for layer in self.layers]
        copies = len(self.reads & {"tokens", "attention"}) * self.dtype.itemsize
        features = len(POOLINGS) * 4 if "features" in self.reads else 0
        return sum(spec.width * (spec.num_tokens * copies + features) for spec in specs) * self.num_places

    def stored_bytes(self) -> int:
        """Return the bytes of all rows as they are stored."""
        return self._row_bytes * self.num_places

    def pool_bytes(self, batch_size: int) -> int:
        """Return the bytes of the rows that are in memory at once when they stream, with a batch that was gathered."""
        if self.in_order:
            return self._row_bytes * min(self.num_rows, self._pool(batch_size).room_rows)
        size = largest_batch(self.num_rows, batch_size)
        return self._row_bytes * (min(self.num_rows, self._pool(size).room_rows + size - 1) + size)


class DecodedFeed:
    """Rows held ready on the device."""

    def __init__(self, feed: StoreFeed) -> None:
        self.num_rows = feed.num_rows
        self._seen = _empty(feed)
        size, start = block_rows(feed.store, feed.layers), 0
        for seen in feed.batches(torch.arange(feed.num_places).split(size)):
            for held, read in zip(_tables(self._seen), _tables(seen), strict=True):
                for layer, values in read.items():
                    held[layer][start : start + len(values)] = values
            start += size

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        """Gather batch after batch."""
        return map(self.batch, batches[first:])

    def batch(self, places: Int64[Tensor, " row"]) -> TokenBatch:
        """Gather some rows."""
        gathered = [{layer: _take(held, places) for layer, held in table.items()} for table in _tables(self._seen)]
        return TokenBatch(*gathered)


class EncodedFeed:
    """Rows kept in memory as they are stored: a half or a quarter of the bytes, made ready for every batch anew."""

    def __init__(self, feed: StoreFeed) -> None:
        self.num_rows = feed.num_rows
        self._feed = feed
        places = np.arange(feed.num_places)
        self._window = feed.read(places, feed.window(feed.num_places), places)

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        """Gather batch after batch."""
        into = self._feed.window(max(map(len, batches), default=1))
        stored = (self._window.gather(batch, into) for batch in _as_arrays(batches)[first:])
        return map(self._feed.seen, moved(stored, self._feed.device))


def block_rows(store: Store, layers: tuple[int, ...]) -> int:
    """Return how many rows to walk through at a time, so that float32 copies stay small."""
    row_bytes = 4 * sum(store.spec.layers[layer].num_tokens * store.spec.layers[layer].width for layer in layers)
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // row_bytes))


def _as_arrays(batches: Batches) -> list[Int64[np.ndarray, " _row"]]:
    """Return batches as arrays of numpy, brought over from a device at once."""
    if not batches:
        return []
    return np.split(torch.cat(tuple(batches)).cpu().numpy(), np.cumsum([len(batch) for batch in batches])[:-1])


def _shares(views: np.ndarray, rows: np.ndarray, chunk_rows: int) -> list[np.ndarray]:
    """Part positions among the readers: of one view, whole chunks, rows ascending within."""
    order = np.lexsort((rows, views))
    views, chunks = views[order], rows[order] // chunk_rows
    starts = np.flatnonzero(np.append(True, (np.diff(chunks) != 0) | (np.diff(views) != 0)))
    borders = starts[:: max(1, len(starts) // NUM_READERS)]
    borders = np.union1d(borders, np.flatnonzero(np.append(True, np.diff(views) != 0)))
    return np.split(order, borders[1:]) if len(rows) else []


def _tables(seen: TokenBatch) -> tuple[Mapping[int, Tensor], ...]:
    return seen.features, seen.tokens, seen.normalised


def _cast(seen: TokenBatch, dtype: torch.dtype) -> TokenBatch:
    tokens, normalised = ({k: v.to(dtype) for k, v in table.items()} for table in (seen.tokens, seen.normalised))
    return TokenBatch(seen.features, tokens, normalised)


def _empty(feed: StoreFeed) -> TokenBatch:
    first = _tables(feed.batch(torch.arange(min(1, feed.num_rows))))
    return TokenBatch(*[{k: _room(v, feed.num_places) for k, v in table.items()} for table in first])


def _room(like: Tensor, num_rows: int) -> Tensor:
    """Return uninitialised room for rows; on a CPU from numpy, which asks for huge pages: a tenth of the faults."""
    shape = (num_rows, *like.shape[1:])
    if like.device.type != "cpu" or not num_rows:
        return like.new_empty(shape)
    room = np.empty(math.prod(shape) * like.element_size(), np.uint8)
    return torch.from_numpy(room).view(like.dtype).view(shape)


def _take(held: Tensor, places: Int64[Tensor, " row"]) -> Tensor:
    """Gather rows eight bytes at a time where they divide: several times faster than by bfloat16."""
    flat = held.view(len(held), -1)
    if flat.shape[1] * flat.element_size() % 8:
        return held[places]
    wide = flat.view(torch.int64).index_select(0, places)
    return wide.view(held.dtype).view(len(places), *held.shape[1:])


@dataclass(frozen=True)
class Data:
    """The rows of some layers, with their labels, and their groups where they have any."""

    feed: Feed
    labels: Labels
    groups: Int64[Tensor, " row"] | None = None
