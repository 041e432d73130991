"""Files in a local folder or below any fsspec URL, behind one small contract.

Knows bytes and names, no formats. A local write is atomic and durable (temporary file, fsync, rename, fsync of the
folder); on an object store one put is atomic.
"""

import contextlib
import os
import shutil
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from ..errors import IcecoreError, UsageError
from . import conditional
from .conditional import SupersededError

T = TypeVar("T")

PARTIAL = "partial"  # folder of unfinished files, so that remains of killed processes are in one place
NUM_TRIES = 6
MOST_VIEWS = 1024  # buffers that one preadv call fills
FIRST_DELAY_SECONDS = 0.1  # doubled after every failure: about three seconds in all


@runtime_checkable
class Location(Protocol):
    """The files of one store. Names are relative, with `/` between parts; a missing file raises FileNotFoundError."""

    url: str

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        ...

    def read_into(self, name: str, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill byte buffers with consecutive bytes from an offset on; return the number of bytes read."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file, atomically and durably."""
        ...

    def create(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a new file for writing front to back; it appears, whole and durable, if no error occurs."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""
        ...

    def exists(self, name: str) -> bool:
        """Say whether a file exists."""
        ...

    def entries(self, folder: str = "") -> list[str] | None:
        """Return the names of the files and folders in a folder; None where there is no folder."""
        ...

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size in bytes of every file below a folder."""
        ...

    def free_bytes(self) -> int | None:
        """Return the free space in bytes; None where it is unknown."""
        ...


def open_location(url: str) -> Location:
    """Return the location at a path or fsspec URL; nothing is created.

    Raises:
        UsageError: fsspec does not know the protocol, or its package is missing.
    """
    if "://" not in url:
        return LocalFolder(url)
    protocol, _, rest = url.partition("://")
    if protocol in ("file", "local"):
        return LocalFolder(rest)
    import fsspec  # slow to import, and local folders do not need it

    try:
        filesystem, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"store {url!r}: no way to open {protocol}:// URLs ({error}); install the fsspec package of this protocol"
        ) from None
    return RemoteFolder(url, filesystem, root)


def write_atomic(url: str, data: bytes) -> None:
    """Create or replace one file at a path or URL, atomically and (locally) durably."""
    location, name = _location_of(url)
    if isinstance(location, LocalFolder):
        with location.create_beside(name) as file:
            file.write(data)
    else:
        location.write(name, data)


def create_atomic(url: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Open one file at a path or URL for writing front to back; it appears, whole, if no error occurs."""
    location, name = _location_of(url)
    return location.create_beside(name) if isinstance(location, LocalFolder) else location.create(name)


def _location_of(url: str) -> tuple[Location, str]:
    folder, _, name = url.rpartition("/")
    return open_location(folder or "."), name


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


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


class RemoteFolder:
    """A prefix of an fsspec file system, such as an object store; failing requests are retried for three seconds."""

    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        self.url = url
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return self._retry(lambda: self._filesystem.cat_file(self._path(name)))

    def read_into(self, name: str, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill byte buffers with consecutive bytes from an offset on; return the number of bytes read."""
        path, end = self._path(name), offset + sum(buffer.nbytes for buffer in buffers)
        data = np.frombuffer(self._retry(lambda: self._filesystem.cat_file(path, start=offset, end=end)), np.uint8)
        start = 0
        for buffer in buffers:
            piece = data[start : start + buffer.nbytes]
            buffer[: len(piece)] = piece
            start += buffer.nbytes
        return len(data)

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file in one put."""
        with self._there():
            self._retry(lambda: self._filesystem.pipe_file(self._path(name), data))

    @property
    def is_conditional(self) -> bool:
        """Say whether `put_if` compares tags; without, it replaces unconditionally."""
        return conditional.is_conditional(self._filesystem)

    def tag(self, name: str) -> str | None:
        """Return the version tag of a file, for `put_if`; None where there is no file or no tags."""
        return self._retry(lambda: conditional.tag(self._filesystem, self._path(name)))

    def put_if(self, name: str, data: bytes, tag: str | None, is_new: bool) -> str | None:
        """Create a file or replace the version `tag`, and return the new tag; SupersededError on another version."""
        with self._there():
            return self._retry(lambda: conditional.put(self._filesystem, self._path(name), data, tag, is_new))

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Open a new file for writing front to back; it is put, whole, if the context ends without error."""
        with tempfile.NamedTemporaryFile(prefix="icecore-", buffering=0) as file:
            yield file
            with self._there():
                self._retry(lambda: self._filesystem.put_file(file.name, self._path(name)))

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self._retry(lambda: self._filesystem.rm_file(self._path(name)))

    def exists(self, name: str) -> bool:
        """Say whether a file exists."""
        return bool(self._retry(lambda: self._filesystem.exists(self._path(name))))

    def entries(self, folder: str = "") -> list[str] | None:
        """Return the names of the files and folders in a folder; None where there is no folder."""
        top = self._filesystem._strip_protocol(self._path(folder))
        try:
            entries = self._retry(lambda: self._filesystem.ls(top, detail=True))
        except FileNotFoundError:
            return None
        if [entry["name"].rstrip("/") for entry in entries if entry["type"] == "file"] == [top]:  # `ls` of a file
            raise NotADirectoryError(self.url)
        return [name.rpartition("/")[2] for entry in entries if (name := entry["name"].rstrip("/")) != top]

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size in bytes of every file below a folder."""
        files = self._retry(lambda: self._filesystem.find(self._path(folder), detail=True))
        prefix = self._filesystem._strip_protocol(self._root) + "/"
        return {path.removeprefix(prefix): int(entry["size"]) for path, entry in files.items()}

    def free_bytes(self) -> int | None:
        """Return None: object stores do not report free space."""
        return None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    @contextlib.contextmanager
    def _there(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise IcecoreError(f"{self.url}: the bucket or folder to write to is not there ({error})") from error

    def _retry(self, request: Callable[[], T]) -> T:
        """Return the answer of a request, tried up to six times; the last failure becomes an IcecoreError."""
        for attempt in range(NUM_TRIES):
            try:
                return request()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError, SupersededError):
                raise
            except PermissionError as error:
                raise IcecoreError(f"{self.url}: access denied ({error}); check credentials and rights") from error
            except OSError as error:
                if attempt == NUM_TRIES - 1:
                    tried = f"still failing after {NUM_TRIES} tries ({error})"
                    raise IcecoreError(f"{self.url}: {tried}; run the command again") from error
                time.sleep(FIRST_DELAY_SECONDS * 2**attempt)
            except Exception as error:  # of the file system's library, such as missing credentials
                raise IcecoreError(
                    f"{self.url}: {type(error).__name__} ({error}); check the address, the credentials and the network"
                ) from error
        raise AssertionError("unreachable")


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
