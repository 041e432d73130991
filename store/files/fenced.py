"""A location that checks before every change that its writer still holds the lock."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np

from .location import Location


class FencedLocation:
    """The location of one writer, fenced: `require` raises LockedError once the writer has lost its lock."""

    def __init__(self, location: Location, require: Callable[[], None]) -> None:
        self.url = location.url
        self._location = location
        self._require = require

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return self._location.read(name)

    def read_into(self, name: str, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill byte buffers with consecutive bytes from an offset on; return the number of bytes read."""
        return self._location.read_into(name, offset, buffers)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file, if the lock is still held."""
        self._require()
        self._location.write(name, data)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Open a new file for writing; it appears if the context ends without error and the lock is still held."""
        with self._location.create(name) as file:
            yield file
            self._require()

    def delete(self, name: str) -> None:
        """Remove a file if it exists and the lock is still held."""
        self._require()
        self._location.delete(name)

    def exists(self, name: str) -> bool:
        """Say whether a file exists."""
        return self._location.exists(name)

    def entries(self, folder: str = "") -> list[str] | None:
        """Return the names of the entries of a folder; None where there is no folder."""
        return self._location.entries(folder)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size in bytes of every file below a folder."""
        return self._location.sizes(folder)

    def free_bytes(self) -> int | None:
        """Return the free space in bytes; None where it is unknown."""
        return self._location.free_bytes()
