"""A stretch of rows in memory as they are stored, and reading the next one while this one is used."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True)
class Window:
    """The stored arrays of some rows, by layer and name."""

    parts: dict[int, dict[str, np.ndarray]]

    @property
    def num_bytes(self) -> int:
        """The bytes it takes."""
        return sum(array.nbytes for parts in self.parts.values() for array in parts.values())

    @property
    def num_rows(self) -> int:
        """How many rows it has room for."""
        return min(len(array) for parts in self.parts.values() for array in parts.values())

    def part(self, where: slice | Int64[np.ndarray, " row"]) -> "Window":
        """Return some of its rows; a slice copies nothing."""
        return Window({k: {name: array[where] for name, array in parts.items()} for k, parts in self.parts.items()})


@runtime_checkable
class Reads(Protocol):
    """Whoever can fill a window."""

    def borrow(self, num_rows: int) -> Window:
        """Return room for at least some rows."""
        ...

    def give_back(self, window: Window) -> None:
        """Take room back, for the next epoch."""
        ...

    def read(self, places: Int64[np.ndarray, " row"], into: Window) -> Window:
        """Fill a window."""
        ...


def read_ahead(source: Reads, places: Sequence[Int64[np.ndarray, " _row"]]) -> Iterator[tuple[Window, int]]:
    """Yield a window and its number of rows for each of `places`; the one before is overwritten meanwhile.

    Two windows in all, used in turn and epoch after epoch: memory stays flat, and is not faulted in again.
    """
    if not places:
        return
    most = max(map(len, places))
    rooms = [source.borrow(most) for _ in range(min(2, len(places)))]
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
            coming = pool.submit(source.read, places[0], rooms[0])
            for number, wanted in enumerate(places, 1):
                window = coming.result()
                if number < len(places):
                    coming = pool.submit(source.read, places[number], rooms[number % 2])
                yield window, len(wanted)
    finally:
        for room in rooms:
            source.give_back(room)
