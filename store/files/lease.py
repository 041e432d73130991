"""A lease: the lock of object stores, which have none that dies with its holder.

A file that names the holder by a token, and that the holder renews. One that was not renewed for a minute, or whose
process on this host is gone, is stale, and anybody may take it over. A holder that finds another's token in the file,
or that could not renew in time (paused, or cut off), has lost the store: it never renews again, and each of its writes
is refused before it is made.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from ..errors import IcecoreError, LockedError
from . import lock
from .conditional import SupersededError
from .location import RemoteFolder

SETTLE_SECONDS = 0.2  # until a lease is read back, where a put is not conditional


class Lease:
    """A lease on one lock file, held from `acquire` to `release` unless it is lost."""

    def __init__(self, location: RemoteFolder, name: str) -> None:
        self._location = location
        self._name = name
        self._signature = lock.signature()
        self._tag: str | None = None
        self._renewed = (0.0, 0.0)
        self._lost = False
        self._stop = threading.Event()
        self._busy = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    @property
    def token(self) -> str:
        """What names the holder."""
        return self._signature["token"]

    def acquire(self) -> None:
        """Take the lease where nobody has it, or where it is stale; else LockedError."""
        tag = self._location.tag(self._name)
        holder = self._read()
        if holder is not None and not _is_stale(holder):
            raise lock.locked(self._location, self._name, holder)
        started = time.monotonic()
        try:
            self._put(tag, is_new=holder is None)
        except SupersededError:
            self._tag = self._location.tag(self._name)  # a put whose answer was lost is still ours
        if not self._location.is_conditional:
            took = time.monotonic() - started
            # Whoever came first looks at the lease before each write, and at the latest when it renews.
            time.sleep(SETTLE_SECONDS if took < SETTLE_SECONDS else lock.RENEW_SECONDS + took)
        found = self._read() or {}
        if found.get("token") != self.token:
            raise lock.locked(self._location, self._name, found)
        self._keeper.start()

    def require(self) -> None:
        """Raise LockedError where the lease is lost."""
        with self._busy:
            if not self._lost and self._is_overdue():
                self._renew()
            found = {} if self._lost else self._read() or {}
            self._lost = self._lost or found.get("token") != self.token
        if self._lost:
            raise LockedError(
                f"{self._location.url}: another process may have begun to write it, because this one was paused or cut "
                "off for too long, or came second; run the command again to go on"
            )

    def release(self) -> None:
        """Let go; a lease that is lost is somebody else's and stays."""
        self._stop.set()
        self._keeper.join()
        if not self._lost and (self._read() or {}).get("token") == self.token:
            self._location.delete(self._name)

    def _keep(self) -> None:
        while not self._stop.wait(lock.RENEW_SECONDS):
            with self._busy, contextlib.suppress(IcecoreError):  # an object store that is down may be up next time
                self._renew()

    def _renew(self) -> None:
        """Renew, unless the lease is lost; without conditional puts one that is overdue counts as lost."""
        if not self._lost and not self._location.is_conditional:
            self._lost = (self._read() or {}).get("token") != self.token or self._is_overdue()
        if self._lost:
            return
        try:
            self._put(self._tag, is_new=False)
        except SupersededError:
            self._tag = self._location.tag(self._name)
            self._lost = (self._read() or {}).get("token") != self.token

    def _put(self, tag: str | None, is_new: bool) -> None:
        renewed = (time.monotonic(), time.time())
        data = json.dumps({**self._signature, "renewed": renewed[1]}).encode()
        self._tag = self._location.put_if(self._name, data, tag, is_new)
        self._renewed = renewed

    def _is_overdue(self) -> bool:
        """Say whether others may call the lease stale soon; a clock that stands still in sleep is not asked alone."""
        since = max(time.monotonic() - self._renewed[0], time.time() - self._renewed[1])
        return since > lock.STALE_SECONDS - lock.RENEW_SECONDS

    def _read(self) -> dict[str, Any] | None:
        try:
            return lock.parse(self._location.read(self._name))
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def leased(location: RemoteFolder, name: str) -> Iterator[Lease]:
    """Hold a lease."""
    lease = Lease(location, name)
    lease.acquire()
    try:
        yield lease
    finally:
        lease.release()


def _is_stale(holder: dict[str, Any]) -> bool:
    if holder.get("host") == socket.gethostname() and not _is_alive(holder.get("pid")):
        return True
    return time.time() - float(holder.get("renewed", 0)) > lock.STALE_SECONDS


def _is_alive(pid: object) -> bool:
    """Say whether a process of this machine lives; signal 0 asks and does nothing, on Linux and macOS alike."""
    if not isinstance(pid, int) or pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
