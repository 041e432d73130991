"""Files in a local folder or below any fsspec URL, behind one small contract.

Knows bytes and names, no formats. A local write is atomic and durable (temporary file, fsync, rename, fsync of the
folder); on an object store one put is atomic.
"""

import contextlib
from collections.abc import Sequence
from typing import IO, Protocol, runtime_checkable

import numpy as np

from ..errors import UsageError
from .local_folder import LocalFolder
from .remote_folder import RemoteFolder


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
