"""Reading the bytes of a source: again where that fails, and never other bytes than those that were scanned."""

import hashlib

from icecore.store import IcecoreError, Sample

from ..files.passing import AbsentError, persistently
from ..sources import Source


class ChangedError(IcecoreError):
    """An image whose bytes are not those that its data set was scanned with."""


def read(source: Source, place: int) -> bytes:
    """Return the bytes of a sample.

    Raises:
        PassingError: they cannot be read now, for whatever reason: that does not make it a bad image.
        AbsentError: the source lists the sample, and it is not there.
    """
    what = f"{source.samples[place].key!r}: cannot be read"
    return persistently(lambda: source.read(place), what, lambda error: not isinstance(error, AbsentError))


def read_again(source: Source, place: int, scanned: Sample) -> bytes:
    """Return the bytes of a sample that was scanned before; ChangedError where they are not the ones scanned then."""
    data = read(source, place)
    if digest(data) != scanned.sha256:
        raise ChangedError(
            f"{scanned.key!r}: has changed since its data set was scanned (sha256 {scanned.sha256[:12]} then, "
            f"{digest(data)[:12]} now); restore the image, or run the command again"
        )
    return data


def digest(data: bytes) -> str:
    """Return the digest of an image's bytes that the table of samples holds."""
    return hashlib.sha256(data).hexdigest()
