"""One writer at a time: a lock that the operating system lets go when its holder dies."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from .errors import LockedError

LOCK = "lock"


@contextlib.contextmanager
def local_lock(folder: str) -> Iterator[None]:
    """Hold a local store for writing; LockedError names the host, process and time of the one that holds it."""
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LockedError(f"{folder}: {describe(file.read())} is writing it; wait for it or stop it") from None
        file.truncate(0)
        file.write(signature())
        file.flush()
        yield
        file.truncate(0)


def signature() -> str:
    """Return who holds the lock, as JSON."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": now})


def describe(text: str) -> str:
    """Say in words who holds the lock."""
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
