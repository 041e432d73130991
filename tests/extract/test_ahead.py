"""Working ahead: the same items in the same order, never further ahead than asked, and nothing left running."""

import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from icecore.extract.ahead import iterate_ahead, map_ahead


def count(seen: list[int], num_items: int, closed: list[bool]) -> Generator[int, None, None]:
    try:
        for item in range(num_items):
            seen.append(item)
            yield item
    finally:
        closed.append(True)


def test_items_come_in_order_from_another_thread() -> None:
    closed: list[bool] = []
    with iterate_ahead(count([], 17, closed), 2) as items:
        assert list(items) == list(range(17))
    assert closed == [True]


def test_it_goes_no_further_ahead_than_asked() -> None:
    seen: list[int] = []
    with iterate_ahead(count(seen, 100, []), 3) as items:
        next(items)
        time.sleep(0.05)
        assert len(seen) <= 1 + 3 + 1  # taken, waiting, in the making


def test_leaving_early_stops_the_thread_and_closes_the_generator() -> None:
    closed: list[bool] = []
    before = threading.active_count()
    with iterate_ahead(count([], 100, closed), 2) as items:
        assert next(items) == 0
    assert closed == [True]
    assert threading.active_count() == before


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise OSError("disk")

    with iterate_ahead(broken(), 4) as items:
        assert next(items) == 1
        with pytest.raises(OSError, match="disk"):
            next(items)


@pytest.mark.parametrize("depth", [0, 1, 7, 40])
def test_groups_are_mapped_in_order(depth: int) -> None:
    groups = [range(start, start + 3) for start in range(0, 30, 3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(map_ahead(pool, lambda item: item * 2, groups, depth)) == [[i * 2 for i in g] for g in groups]
