"""Reads the bytes of samples, with retries, and checks that they are the bytes that were scanned."""

import hashlib

from icecore.store import IcecoreError, Sample

from ..files.passing import AbsentError, persistently
from ..sources import Source


class ChangedError(IcecoreError):
    """An image whose bytes changed since its data set was scanned."""


def read(source: Source, place: int) -> bytes:
    """Return the bytes of a sample.

    Raises:
        PassingError: reading fails, for whatever reason; the image is not recorded as bad.
        AbsentError: the source lists the sample, but it does not exist.
    """
    what = f"{source.samples[place].key!r}: cannot be read"
    return persistently(lambda: source.read(place), what, lambda error: not isinstance(error, AbsentError))


def read_again(source: Source, place: int, scanned: Sample) -> bytes:
    """Return the bytes of a sample that was scanned before.

    Raises:
        ChangedError: the bytes differ from the scanned ones.
        PassingError: as `read`.
    """
    data = read(source, place)
    if digest(data) != scanned.sha256:
        raise ChangedError(
            f"{scanned.key!r}: has changed since its data set was scanned (sha256 {scanned.sha256[:12]} then, "
            f"{digest(data)[:12]} now); restore the image, or run the command again"
        )
    return data


def digest(data: bytes) -> str:
    """Return the SHA-256 of an image's bytes in hexadecimal, as the table of samples holds it."""
    return hashlib.sha256(data).hexdigest()
