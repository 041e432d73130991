"""A disk that is full, or that may not be written, told in one line instead of a traceback."""

import contextlib
import errno
import os
from collections.abc import Iterator

from ..errors import IcecoreError

FULL = (errno.ENOSPC, errno.EDQUOT)
NEVER_OF_READING = (errno.EROFS, errno.EFBIG)  # so that they are the store's, not a source's


@contextlib.contextmanager
def room_on_disk(url: str, resume: str) -> Iterator[None]:
    """Turn what a disk refuses into IcecoreError; `resume` says what is kept, and what to do then."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise IcecoreError(f"{url}: no space left on the device; {resume}") from error
        if error.errno in NEVER_OF_READING or _is_below(error.filename, url):
            raise IcecoreError(f"{url}: cannot be written ({error.strerror}); {resume}") from error
        raise


def _is_below(name: object, url: str) -> bool:
    """Say whether an error is about a file of the store."""
    return isinstance(name, str | os.PathLike) and bool(url) and os.fspath(name).startswith(os.path.normpath(url))
