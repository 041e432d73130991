"""Working ahead: the same items in the same order, never further ahead than asked, and nothing left running."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from icecore.extract.job.ahead import map_ahead


@pytest.mark.parametrize("depth", [0, 1, 7, 40])
def test_items_are_mapped_in_order(depth: int) -> None:
    def slowest_first(item: int) -> int:
        time.sleep(0.002 * (3 - item % 4))
        return -item

    with ThreadPoolExecutor(3) as pool:
        assert list(map_ahead(pool, slowest_first, range(17), depth)) == [-item for item in range(17)]


def test_it_goes_no_further_ahead_than_asked() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(2) as pool, closing(map_ahead(pool, begun.append, range(100), 3)) as results:
        next(results)
        time.sleep(0.05)
        assert len(begun) <= 1 + 3


def test_an_error_comes_where_its_result_would_have_come_and_nothing_is_left_running() -> None:
    before = threading.active_count()
    with (
        ThreadPoolExecutor(2) as pool,
        closing(map_ahead(pool, lambda item: 1 // (2 - item), range(100), 5)) as results,
    ):
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert threading.active_count() == before
