"""Doing the next step while the last one is used: two ways to work ahead, both bounded. Knows nothing of images."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


class _End:
    pass


def map_ahead(
    pool: Executor, function: Callable[[T], R], groups: Iterable[Iterable[T]], depth: int
) -> Generator[list[R], None, None]:
    """Yield the results of each group in order, while the pool works on up to `depth` groups after it."""
    pending: deque[list[Future[R]]] = deque()
    try:
        for group in groups:
            pending.append([pool.submit(function, item) for item in group])
            if len(pending) > depth:
                yield [future.result() for future in pending.popleft()]
        while pending:
            yield [future.result() for future in pending.popleft()]
    finally:
        for future in (future for group in pending for future in group):
            future.cancel()


@contextmanager
def iterate_ahead(items: Generator[T, None, None], depth: int) -> Iterator[Iterator[T]]:
    """Run a generator in a thread of its own, up to `depth` items ahead; leaving the context stops and joins it.

    An exception of the generator is raised where its item would have come.
    """
    ready: queue.Queue[T | _Failed | _End] = queue.Queue()
    room = threading.Semaphore(depth)
    stopped = threading.Event()

    def run() -> None:
        try:
            for item in items:
                ready.put(item)
                room.acquire()
                if stopped.is_set():
                    break
            ready.put(_End())
        except BaseException as error:  # handed on, whatever it is
            ready.put(_Failed(error))
        finally:
            items.close()

    def take() -> Iterator[T]:
        while not isinstance(item := ready.get(), _End):
            if isinstance(item, _Failed):
                raise item.error
            room.release()
            yield item

    thread = threading.Thread(target=run, name="iterate-ahead", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        room.release()
        thread.join()
