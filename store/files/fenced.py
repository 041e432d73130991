"""A location whose every change is made only while its writer still holds it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np

from .location import Location


class FencedLocation:
    """The files of a store, for one writer: `require` raises LockedError once the writer has lost the store."""

    def __init__(self, location: Location, require: Callable[[], None]) -> None:
        self.url = location.url
        self._location = location
        self._require = require

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return self._location.read(name)

    def read_into(self, name: str, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill byte buffers from consecutive bytes at an offset; return how many bytes there were."""
        return self._location.read_into(name, offset, buffers)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file, if the store is still held."""
        self._require()
        self._location.write(name, data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Open a new file for writing; it appears when the context ends well and the store is still held."""
        with self._location.create(name) as file:
            yield file
            self._require()

    def delete(self, name: str) -> None:
        """Remove a file if it is there and the store is still held."""
        self._require()
        self._location.delete(name)

    def exists(self, name: str) -> bool:
        """Say whether a file is there."""
        return self._location.exists(name)

    def entries(self, folder: str = "") -> list[str] | None:
        """Return the names directly in a folder; None where it is not there."""
        return self._location.entries(folder)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size in bytes of every file below a folder."""
        return self._location.sizes(folder)

    def free_bytes(self) -> int | None:
        """Return how much may still be written; None where nobody can say."""
        return self._location.free_bytes()
