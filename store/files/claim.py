"""One writer a shard: how worker processes share the work of the process that holds the store for writing.

A claim is a lock of its own on one shard. It is good while the process that handed it out still holds the store, and
the next writer of the store waits for every claim that is still held, so no shard is ever written by two.
"""

import contextlib
import re
import time
from collections.abc import Iterator

from ..errors import LockedError
from .fenced import FencedLocation
from .location import Location
from .lock import STALE_SECONDS, fenced, hold, writer_token

CLAIMS = "claims"
RETRY_SECONDS = 0.5
_NAME = re.compile(rf"{CLAIMS}/\d{{6,}}")


@contextlib.contextmanager
def claim(location: Location, shard: int, token: str) -> Iterator[Location]:
    """Hold a shard for writing in the name of the store's writer, and yield the store's files to write it.

    Waits a while for another process to let the shard go.
    """
    last_try = time.monotonic() + 2 * STALE_SECONDS  # a lease whose host died is stale by then
    with contextlib.ExitStack() as stack:
        while True:
            try:
                held = stack.enter_context(hold(location, claim_name(shard)))
                break
            except LockedError:
                if time.monotonic() > last_try:
                    raise
            time.sleep(RETRY_SECONDS)
        require_writer(location, token)
        yield fenced(FencedLocation(location, lambda: require_writer(location, token)), held)


def require_writer(location: Location, token: str) -> None:
    """Raise LockedError unless the store is still held by the writer of this token."""
    if writer_token(location) != token:
        raise LockedError(f"{location.url}: is no longer written by the process that this one works for; nothing to do")


def free_claims(location: Location) -> None:
    """Remove what ended workers left behind; LockedError where one is still writing."""
    for name in filter(_NAME.fullmatch, location.sizes(CLAIMS)):
        with hold(location, name):
            location.delete(name)


def claim_name(shard: int) -> str:
    """Return the lock file of a shard."""
    return f"{CLAIMS}/{shard:06d}"
