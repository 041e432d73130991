"""An epoch is every row once, in an order that memory has no say in; streamed rows are the rows of the store."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icecore.store import IncompleteError, LayerReader, Store, open_store
from icecore.train.tokens.batch import Reads
from icecore.train.tokens.feed import Feed, StoreFeed
from icecore.train.tokens.held_feeds import DecodedFeed, EncodedFeed
from icecore.train.tokens.order import Order, Pool, even_batches, largest_batch, make_order, make_pool
from icecore.train.tokens.window import Plan, Window, plan, steps_of

from ..conftest import MakeStore

READS: frozenset[Reads] = frozenset({"features", "normalised", "tokens"})


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Some rows of a store in an order, of whatever sizes."""
    num_rows, chunk_rows, batch_size = draw(st.integers(1, 700)), draw(st.integers(1, 40)), draw(st.integers(1, 50))
    step_rows = draw(st.integers(1, 3)) * largest_batch(num_rows, batch_size)
    pool = Pool(step_rows + draw(st.integers(0, 300)), step_rows, chunk_rows)
    rows = np.sort(np.random.default_rng(num_rows).permutation(2 * num_rows)[:num_rows])
    return Order(rows, pool, draw(st.integers(1, 3)), seed=draw(st.integers(0, 9)))


def planned(order: Order, size: int, first: int = 0) -> tuple[Plan, list[np.ndarray], np.ndarray]:
    """Return a plan of what is left of an epoch in even batches, its sample_indices by step, and their chunks."""
    batches = [batch.numpy() for batch in even_batches(order.epoch(1), size)]
    steps = [np.concatenate(step) for step in steps_of(batches, order.pool.step_rows, first)]
    views, rows = np.divmod(np.concatenate(steps), len(order.rows))
    chunks = 10_000 * views + order.rows[rows] // order.pool.chunk_rows
    return plan(steps, chunks), steps, chunks


@given(orders(), st.integers(1, 9))
def test_an_epoch_is_every_row_once(order: Order, epoch: int) -> None:
    num_rows = len(order.rows)
    sample_indices = order.epoch(epoch)
    assert (sample_indices % num_rows).sort().values.tolist() == list(range(num_rows))
    assert torch.equal(sample_indices, replace(order).epoch(epoch))
    if num_rows > 10:
        assert not torch.equal(sample_indices, order.epoch(epoch + 1))


@given(orders(), st.data())
def test_every_chunk_is_read_once_and_no_more_is_held_than_promised(order: Order, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([k for k in range(1, 51) if order.pool.step_rows % k == 0]))
    batches = even_batches(order.epoch(1), size)
    found, steps, chunks = planned(order, size, data.draw(st.integers(0, len(batches) - 1)))
    assert found.buffer_rows <= min(len(order.rows), order.pool.peak_rows + len(batches[0]) - 1)
    chunk_of = dict(zip(np.concatenate(steps).tolist(), chunks.tolist(), strict=True))
    read = [{chunk_of[index] for index in step.sample_indices.tolist()} for step in found.steps]
    assert sum(map(len, read)) == len(set().union(*read)) == len(set(chunks.tolist()))


@given(orders(), st.booleans())
def test_a_buffer_index_keeps_its_row_until_the_step_after_has_been_read(order: Order, any_order: bool) -> None:
    found, steps, chunks = planned(order, order.pool.step_rows)
    if any_order:
        mixed = np.random.default_rng(0).permutation(len(chunks))
        steps = np.split(np.concatenate(steps)[mixed], np.cumsum([len(step) for step in steps])[:-1])
        found = plan(steps, chunks[mixed])
    window = np.full(found.buffer_rows, -1)
    before, used_before = steps[0][:0], steps[0][:0]
    for step, sample_indices in zip(found.steps, steps, strict=True):
        window[step.buffer_indices] = step.sample_indices
        assert window[used_before].tolist() == before.tolist()
        assert window[step.used_buffer_indices].tolist() == sample_indices.tolist()
        before, used_before = sample_indices, step.used_buffer_indices


@given(orders(), st.integers(1, 2**32 - 1))  # seeds are less than 2**32
def test_another_seed_is_another_order(order: Order, seed: int) -> None:
    if len(order.rows) > 10:
        assert not torch.equal(order.epoch(1), replace(order, seed=order.seed + seed).epoch(1))


def test_no_position_in_an_epoch_is_a_border() -> None:
    order = Order(np.arange(2000), Pool(400, 50, 10), num_views=1, seed=0)
    chunks = order.epoch(1).numpy() // 10
    for cut in range(100, 2000 - 100, 50):
        assert len(np.intersect1d(chunks[:cut], chunks[cut:])) >= 15  # of the 40 in a pool; one at a border of windows
    spread = [np.ptp(chunks[cut : cut + 50]) for cut in range(0, 2000, 50)]
    assert min(spread) > 100  # of 200: neighbours in the store are not neighbours in the order


def test_every_row_has_one_view_an_epoch_and_all_views_in_time() -> None:
    order = Order(np.arange(100), Pool(64, 16, 16), num_views=3, seed=0)
    epochs = [order.epoch(epoch) for epoch in range(1, 30)]
    for sample_indices in epochs:
        assert (sample_indices % 100).sort().values.tolist() == list(range(100))
    assert set(torch.cat(epochs).tolist()) == set(range(300))


@given(st.integers(1, 3000), st.integers(1, 300))
def test_batches_are_alike_in_size_and_near_to_what_was_asked(num_rows: int, batch_size: int) -> None:
    sample_indices = torch.arange(num_rows).flip(0)
    batches = even_batches(sample_indices, batch_size)
    sizes = [len(batch) for batch in batches]
    assert torch.equal(torch.cat(tuple(batches)), sample_indices)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == largest_batch(num_rows, batch_size)
    assert abs(len(sizes) - num_rows / batch_size) <= 0.5 or len(sizes) == 1
    assert num_rows < batch_size or 2 / 3 * batch_size - 1 < min(sizes) <= max(sizes) < 1.5 * batch_size + 1


def feed_of(
    store: Store, rows: np.ndarray, layers: tuple[int, ...], num_views: int = 1, in_order: bool = False
) -> StoreFeed:
    return StoreFeed(
        store=store,
        rows=rows,
        layers=layers,
        reads=READS,
        eps=1e-6,
        device=torch.device("cpu"),
        num_views=num_views,
        in_order=in_order,
    )


def feeds(url: str, num_views: int = 1) -> list[Feed]:
    store = open_store(url)
    feed = feed_of(store, store.rows("train"), (0, 1), num_views=num_views)
    return [feed, DecodedFeed(feed), EncodedFeed(feed)]


@pytest.mark.parametrize("num_rows", [131, 1400])
def test_streamed_and_held_rows_are_the_rows_of_the_store(make_store: MakeStore, num_rows: int) -> None:
    url = make_store(num_rows)
    store = open_store(url)
    rows = store.rows("train")
    order = make_order(store, store.layers, rows, batch_size=48, seed=1)
    assert (len(rows) > order.pool.num_rows) == (num_rows == 1400)
    sample_indices = order.epoch(1)
    expected = store.layer(1).rows(rows[sample_indices.numpy()])
    for feed in feeds(url):
        batches = even_batches(sample_indices, 48)
        assert [len(batch.tokens[1]) for batch in feed.batches(batches)] == [len(batch) for batch in batches]
        assert torch.equal(
            torch.cat([batch.tokens[1].clone() for batch in feed.batches(sample_indices.split(1))]), expected
        )
        for first in range(0, len(batches) + 2, 3):
            left = [batch.tokens[1].clone() for batch in feed.batches(batches, first)]
            skipped = sum(map(len, batches[:first]))
            assert torch.equal(torch.cat([expected[:0], *left]), expected[skipped:])


def test_a_row_is_read_in_the_view_that_was_drawn(make_store: MakeStore) -> None:
    url = make_store(1400, num_views=3)
    store = open_store(url)
    rows = store.rows("train")
    order = make_order(store, store.layers, rows, batch_size=48, seed=1)
    sample_indices = order.epoch(1).numpy()
    assert order.num_views == 3
    every = torch.stack([store.layer(1).rows(rows, view) for view in range(3)])
    expected = every[sample_indices // len(rows), sample_indices % len(rows)]
    assert not torch.equal(every[0], every[1])
    for feed in feeds(url, num_views=3):
        found = [batch.tokens[1].clone() for batch in feed.batches(even_batches(torch.from_numpy(sample_indices), 48))]
        assert torch.equal(torch.cat(found), expected)


@pytest.mark.parametrize("num_views", [1, 2])
def test_an_epoch_reads_every_chunk_once_and_holds_what_it_counts(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, num_views: int
) -> None:
    store = open_store(make_store(1400, num_views=num_views))
    feed = feed_of(store, store.rows("train"), (0, 1), num_views=num_views)
    read: list[tuple[int, int, int]] = []
    held: list[int] = []
    original, window = LayerReader.read_into, StoreFeed.window

    def read_into(
        self: LayerReader, into: dict[str, np.ndarray], sample_indices: np.ndarray, rows: np.ndarray, view: int = 0
    ) -> None:
        read.extend((id(self), view, chunk) for chunk in np.unique(rows // self.chunk_rows).tolist())
        original(self, into, sample_indices, rows, view)

    def allocated(self: StoreFeed, num_rows: int) -> Window:
        held.append(num_rows)
        return window(self, num_rows)

    monkeypatch.setattr(LayerReader, "read_into", read_into)
    monkeypatch.setattr(StoreFeed, "window", allocated)
    for _ in feed.batches(even_batches(make_order(store, feed.layers, feed.rows, 48, seed=1).epoch(1), 48)):
        pass
    assert len(read) == len(set(read)) == 2 * num_views * 22  # layers, and chunks of 64 rows
    row_bytes = feed.encoded_bytes() // feed.num_samples
    assert sum(held[:2]) * row_bytes <= feed.streaming_bytes(48)


def test_to_walk_through_rows_takes_two_steps_and_copies_nothing(make_store: MakeStore) -> None:
    store = open_store(make_store(700))
    rows = store.rows("train")
    feed = feed_of(store, rows, (1,), in_order=True)
    walk, found = feed.encoded_batches(torch.arange(len(rows)).split(48)), list[np.ndarray]()
    first = next(walk).parts[1]["values"]
    assert first.base is not None
    found.append(first.copy())
    for window in walk:
        values = window.parts[1]["values"]
        assert values.base is first.base
        found.append(values.copy())
    assert np.array_equal(np.concatenate(found), store.layer(1).parts(rows)["values"])
    assert feed.streaming_bytes(48) == 2 * 48 * feed.encoded_bytes() // len(rows)


def test_rows_leave_a_pool_in_whole_batches(make_store: MakeStore) -> None:
    store = open_store(make_store())
    for batch_size in (1, 7, 64, 100, 1000):
        pool = make_pool(store, store.layers, batch_size)
        assert pool.step_rows % batch_size == 0
        assert pool.num_rows >= pool.step_rows
        assert pool.peak_rows + batch_size < 16 * 64 or batch_size == 1000


def test_what_goes_wrong_while_reading_ahead_is_heard(make_store: MakeStore) -> None:
    url = make_store(700, num_shards=9)
    store = open_store(url)
    feed = feed_of(store, np.arange(700), (0,))
    with pytest.raises(IncompleteError, match="finish it with"):
        for _ in feed.batches(torch.arange(700).split(32)):
            pass
