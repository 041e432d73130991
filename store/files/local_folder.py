"""A store's files in a folder of the local file system.

A write is durable: temporary file, fsync, rename, fsync of the folder.
"""

import contextlib
import os
import shutil
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

PARTIAL = "partial"  # folder of unfinished files, so that remains of killed processes are in one place
MOST_VIEWS = 1024  # buffers that one preadv call fills


class LocalFolder:
    """A folder of the local file system."""

    def __init__(self, path: str) -> None:
        self.url = path
        self._root = Path(path)

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return (self._root / name).read_bytes()

    def read_into(self, name: str, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill byte buffers with consecutive bytes from an offset on; return the number of bytes read."""
        descriptor = os.open(self._root / name, os.O_RDONLY)
        try:
            return _fill(descriptor, offset, buffers)
        finally:
            os.close(descriptor)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file, atomically and durably."""
        with self.create(name) as file:
            file.write(data)

    def create_beside(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a new file as `create` does, but keep it as a hidden file beside the final one until it is finished."""
        return self._durable(name, self._root / f".{name}.{uuid.uuid4().hex[:8]}")

    def create(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a new file for writing front to back; it appears, whole and durable, if no error occurs."""
        return self._durable(name, self._partial())

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""
        (self._root / name).unlink(missing_ok=True)

    def delete_partial(self) -> None:
        """Remove the unfinished files of killed writers, and nothing that has another kind of name."""
        folder = self._root / PARTIAL
        for path in folder.glob("[0-9a-f]" * 32):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder is missing, or holds other files
            folder.rmdir()

    def exists(self, name: str) -> bool:
        """Say whether a file exists."""
        return (self._root / name).exists()

    def entries(self, folder: str = "") -> list[str] | None:
        """Return the names of the files and folders in a folder; None where there is no folder."""
        try:
            return [path.name for path in (self._root / folder).iterdir()]
        except FileNotFoundError:
            return None

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size in bytes of every file below a folder."""
        top = self._root / folder
        return {str(path.relative_to(self._root)): path.stat().st_size for path in top.rglob("*") if path.is_file()}

    def free_bytes(self) -> int | None:
        """Return the free space of the file system."""
        there = next(path for path in (self._root.absolute(), *self._root.absolute().parents) if path.exists())
        return shutil.disk_usage(there).free

    def _partial(self) -> Path:
        return self._root / PARTIAL / uuid.uuid4().hex

    @contextlib.contextmanager
    def _durable(self, name: str, temporary: Path) -> Iterator[IO[bytes]]:
        final = self._root / name
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:  # buffered: a bare file writes no more than 2 GB at once
                yield file
                file.flush()
                _sync(file.fileno())
            temporary.replace(final)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(final.parent)


def _fill(descriptor: int, offset: int, buffers: Sequence[np.ndarray]) -> int:
    """Read with as few system calls as possible; return the bytes read, fewer than asked at the end of the file."""
    views = deque(buffer.data for buffer in buffers if buffer.nbytes)
    total = 0
    while views:
        count = _read_some(descriptor, views, offset + total)
        if count == 0:
            break
        total += count
        while views and count >= len(views[0]):
            count -= len(views.popleft())
        if count:
            views[0] = views[0][count:]
    return total


def _read_some(descriptor: int, views: deque[memoryview], offset: int) -> int:
    """Read once into the first buffers; into the first one alone where the system has no preadv (old macOS)."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, list(islice(views, MOST_VIEWS)), offset)
    data = os.pread(descriptor, len(views[0]), offset)
    views[0][: len(data)] = data
    return len(data)


def _sync(descriptor: int) -> None:
    """Wait until a file is on the medium; on macOS that takes F_FULLFSYNC, as fsync only reaches the drive's cache."""
    import fcntl  # not on Windows, where stores are not written

    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with contextlib.suppress(OSError):  # network drives do not support it
            fcntl.fcntl(descriptor, full)
            return
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
