"""The lossless compressors that a store may apply to its chunks, under the names that Zarr has for them."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from ..choose import choose


@runtime_checkable
class Compressor(Protocol):
    """The part of a numcodecs codec that reading and writing chunks needs."""

    def encode(self, buf: np.ndarray) -> bytes:
        """Return the bytes of a buffer, compressed."""
        ...

    def decode(self, buf: np.ndarray) -> bytes:
        """Return the bytes that `encode` was given."""
        ...


def _zstd() -> Compressor:
    from numcodecs import Zstd  # numcodecs is slow to import, and most stores have no compressor

    return Zstd(level=0)


def _gzip() -> Compressor:
    from numcodecs import GZip

    return GZip(level=5)


def _blosc() -> Compressor:
    from numcodecs import Blosc

    return Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)


# Every name is also that of a Zarr codec whose default settings read the bytes written here.
COMPRESSORS: dict[str, Callable[[], Compressor]] = {"zstd": _zstd, "blosc": _blosc, "gzip": _gzip}


def get_compressor(name: str | None) -> Compressor | None:
    """Return the compressor of a name, None for None.

    Raises:
        UsageError: no compressor has the name.

    Example:
        >>> import numpy as np
        >>> zeros = np.zeros(1000, np.uint8)
        >>> len(get_compressor("zstd").encode(zeros)) < 50
        True
    """
    return None if name is None else choose(COMPRESSORS, name, "compressor")()
