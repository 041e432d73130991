"""Maps a function over items in a pool, ahead of the consumer, in order and bounded. Knows nothing of images."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(pool: Executor, function: Callable[[T], R], items: Iterable[T], depth: int) -> Generator[R, None, None]:
    """Yield `function(item)` for each item in order, while the pool works on up to `depth` items further on.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(map_ahead(pool, abs, [-1, 2, -3], depth=1))
    [1, 2, 3]

    An exception of `function` is raised in place of its result; items that the pool has not begun are then cancelled.
    """
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
