"""An epoch is every row once, in an order that memory has no say in; streamed rows are the rows of the store."""

import numpy as np
import pytest
import torch

from icecore.store import IncompleteError, open_store
from icecore.train.feed import Feed, HeldFeed, KeptFeed, StoreFeed
from icecore.train.order import Order, make_order, window_rows
from icecore.train.seen import Reads

from .conftest import MakeStore

READS: frozenset[Reads] = frozenset({"features", "attention", "tokens"})


@pytest.mark.parametrize("num_rows", [1, 63, 64, 65, 1000, 1031])
@pytest.mark.parametrize("epoch", [1, 2])
def test_an_epoch_is_every_row_once(num_rows: int, epoch: int) -> None:
    rows = np.sort(np.random.default_rng(num_rows).permutation(2 * num_rows)[:num_rows])
    order = Order(rows, chunk_rows=16, window_rows=128, num_views=1, seed=3)
    places = order.epoch(epoch)
    assert places.sort().values.tolist() == list(range(num_rows))
    assert torch.equal(places, Order(rows, 16, 128, 1, 3).epoch(epoch))
    if num_rows > 1:
        assert not torch.equal(places, order.epoch(epoch + 1))


def test_a_window_mixes_many_places_and_reads_few_chunks_twice() -> None:
    order = Order(np.arange(1031), chunk_rows=16, window_rows=128, num_views=1, seed=0)
    chunks = [set((window // 16).tolist()) for window in order.epoch(1).split(128)]
    assert sum(map(len, chunks)) <= 65 + len(chunks)  # a chunk at a border is in two windows
    spread = [max(there) - min(there) for there in chunks[:-1]]
    assert min(spread) > 20  # of 65: neighbours in the store are not neighbours in the order


def test_every_row_has_one_view_an_epoch_and_all_views_in_time() -> None:
    order = Order(np.arange(100), chunk_rows=16, window_rows=128, num_views=3, seed=0)
    epochs = [order.epoch(epoch) for epoch in range(1, 30)]
    for places in epochs:
        assert (places % 100).sort().values.tolist() == list(range(100))
    assert set(torch.cat(epochs).tolist()) == set(range(300))


def feeds(url: str, num_views: int = 1) -> list[Feed]:
    store = open_store(url)
    feed = StoreFeed(store, store.rows("train"), (0, 1), READS, 1e-6, torch.device("cpu"), num_views=num_views)
    return [feed, HeldFeed(feed), KeptFeed(feed)]


@pytest.mark.parametrize("num_rows", [131, 700])
def test_streamed_and_held_rows_are_the_rows_of_the_store(make_store: MakeStore, num_rows: int) -> None:
    url = make_store(num_rows)
    store = open_store(url)
    rows = store.rows("train")
    order = make_order(store, rows, batch_size=48, seed=1)
    assert (len(rows) > order.window_rows) == (num_rows == 700)
    places = order.epoch(1)
    expected = store.layer(1).rows(rows[places.numpy()])
    for feed in feeds(url):
        batches = list(feed.batches(places, 48))
        assert [len(seen.tokens[1]) for seen in batches] == [len(part) for part in places.split(48)]
        assert torch.equal(torch.cat([seen.tokens[1].clone() for seen in feed.batches(places, 1)]), expected)
        first = next(iter(feed.batches(places, 48, 7 if num_rows == 700 else 2)))
        begin = 48 * (7 if num_rows == 700 else 2)
        assert torch.equal(first.tokens[1], expected[begin : begin + 48])


def test_a_row_is_read_in_the_view_that_was_drawn(make_store: MakeStore) -> None:
    url = make_store(1000, num_views=3)
    store = open_store(url)
    rows = store.rows("train")
    order = make_order(store, rows, batch_size=48, seed=1)
    places = order.epoch(1).numpy()
    assert order.num_views == 3
    every = torch.stack([store.layer(1).rows(rows, view) for view in range(3)])
    expected = every[places // len(rows), places % len(rows)]
    assert not torch.equal(every[0], every[1])
    for feed in feeds(url, num_views=3):
        found = [seen.tokens[1].clone() for seen in feed.batches(torch.from_numpy(places), 48)]
        assert torch.equal(torch.cat(found), expected)


def test_windows_are_whole_batches(make_store: MakeStore) -> None:
    store = open_store(make_store())
    for batch_size in (1, 7, 64, 100, 1000):
        rows = window_rows(store, batch_size)
        assert rows % batch_size == 0
        assert rows > 4 * store.shard_rows - batch_size


def test_what_goes_wrong_while_reading_ahead_is_heard(make_store: MakeStore) -> None:
    url = make_store(700, num_shards=9)
    store = open_store(url)
    feed = StoreFeed(store, np.arange(700), (0,), READS, 1e-6, torch.device("cpu"))
    with pytest.raises(IncompleteError, match="finish it with"):
        for _ in feed.batches(torch.arange(700), 32):
            pass
