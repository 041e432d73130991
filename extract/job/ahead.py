"""Doing the next steps while the last one is used, bounded and in order. Knows nothing of images."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(pool: Executor, function: Callable[[T], R], items: Iterable[T], depth: int) -> Generator[R, None, None]:
    """Yield the result of each item in order, while the pool works on up to `depth` items after it.

    An exception is raised where its result would have come; what has not begun by then is dropped.
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
