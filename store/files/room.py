"""One-line errors, instead of tracebacks, for a disk that is full or read-only."""

import contextlib
import errno
import os
from collections.abc import Iterator

from ..errors import IcecoreError

FULL = (errno.ENOSPC, errno.EDQUOT)
NEVER_OF_READING = (errno.EROFS, errno.EFBIG)  # so such an error concerns the output, not a source


@contextlib.contextmanager
def room_on_disk(url: str, resume: str) -> Iterator[None]:
    """Turn an OSError of writing below `url` into IcecoreError; `resume` says what is kept and how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise IcecoreError(f"{url}: no space left on the device; {resume}") from error
        if error.errno in NEVER_OF_READING or _is_below(error.filename, url):
            raise IcecoreError(f"{url}: cannot be written ({error.strerror}); {resume}") from error
        raise


def _is_below(name: object, url: str) -> bool:
    """Say whether the file that an error names lies below `url`."""
    return isinstance(name, str | os.PathLike) and bool(url) and os.fspath(name).startswith(os.path.normpath(url))
