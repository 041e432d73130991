"""A store's files below a prefix of an fsspec file system, such as an object store.

One `put` of the file system is the atomic step.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeVar

import numpy as np

from ..errors import IcecoreError
from . import conditional
from .conditional import SupersededError

T = TypeVar("T")

NUM_TRIES = 6
FIRST_DELAY_SECONDS = 0.1  # doubled after every failure: about three seconds in all


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
