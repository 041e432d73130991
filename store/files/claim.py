"""Claims: worker processes write single shards on behalf of the process that holds the store for writing.

A claim is a separate lock on one shard. It is valid while the process that issued its token still holds the store. The
next writer of the store waits for every claim that is still held, so no two processes ever write the same shard.
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
    """Lock a shard on behalf of the store's writer, and yield the location to write it to.

    Waits up to two minutes for another process to release the shard.

    Args:
        token: The token of the store's writer, as `writer_token` reads it.

    Raises:
        LockedError: another process keeps the shard, or the writer of this token no longer holds the store.
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
    """Raise LockedError unless the writer of this token still holds the store."""
    if writer_token(location) != token:
        raise LockedError(
            f"{location.url}: is no longer written by the process that this worker writes for; nothing to do"
        )


def free_claims(location: Location) -> None:
    """Remove the lock files of ended workers; LockedError if a worker is still writing."""
    for name in filter(_NAME.fullmatch, location.sizes(CLAIMS)):
        with hold(location, name):
            location.delete(name)


def claim_name(shard: int) -> str:
    """Return the name of the lock file of a shard."""
    return f"{CLAIMS}/{shard:06d}"
