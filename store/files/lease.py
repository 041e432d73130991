"""Leases: locks on object stores, where no lock is released when a process dies.

A lease is a file that names its holder by a token and that the holder renews every 10 seconds. A lease is stale, and
any process may take it over, when it was not renewed for a minute or its holder, on this host, has died. A holder that
finds another token in the file, or that could not renew in time (paused or disconnected), has lost the lease: it never
renews again, and each of its writes is refused before it is made.
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
from .remote_folder import RemoteFolder

SETTLE_SECONDS = 0.2  # wait before a lease is read back, where puts are not conditional


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
        """The random token that identifies the holder."""
        return self._signature["token"]

    def acquire(self) -> None:
        """Take a lease that is free or stale, and begin to renew it; LockedError if another process holds it."""
        tag = self._location.tag(self._name)
        holder = self._read()
        if holder is not None and not _is_stale(holder):
            raise lock.locked(self._location, self._name, holder)
        started = time.monotonic()
        try:
            self._put(tag, is_new=holder is None)
        except SupersededError:
            self._tag = self._location.tag(self._name)  # our put may have succeeded, its response lost
        if not self._location.is_conditional:
            took = time.monotonic() - started
            # A process whose lease was overwritten notices before its next write or renewal: wait until then.
            time.sleep(SETTLE_SECONDS if took < SETTLE_SECONDS else lock.RENEW_SECONDS + took)
        holder = self._read() or {}
        if holder.get("token") != self.token:
            raise lock.locked(self._location, self._name, holder)
        self._keeper.start()

    def require(self) -> None:
        """Raise LockedError if the lease is lost; renew a lease that is overdue first."""
        with self._busy:
            if not self._lost and self._is_overdue():
                self._renew()
            holder = {} if self._lost else self._read() or {}
            self._lost = self._lost or holder.get("token") != self.token
        if self._lost:
            raise LockedError(
                f"{self._location.url}: another process may have begun to write it, because this one was paused or cut "
                "off for too long, or came second; run the command again to go on"
            )

    def release(self) -> None:
        """Stop renewing and delete the lease file, unless the lease is lost and belongs to another process."""
        self._stop.set()
        self._keeper.join()
        if not self._lost and (self._read() or {}).get("token") == self.token:
            self._location.delete(self._name)

    def _keep(self) -> None:
        while not self._stop.wait(lock.RENEW_SECONDS):
            with self._busy, contextlib.suppress(IcecoreError):  # the object store may be back at the next renewal
                self._renew()

    def _renew(self) -> None:
        """Renew the lease unless it is lost; without conditional puts, an overdue lease counts as lost."""
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
        """Say whether the lease is close to stale, by two clocks: the monotonic one may stop in sleep."""
        since = max(time.monotonic() - self._renewed[0], time.time() - self._renewed[1])
        return since > lock.STALE_SECONDS - lock.RENEW_SECONDS

    def _read(self) -> dict[str, Any] | None:
        try:
            return lock.parse(self._location.read(self._name))
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def leased(location: RemoteFolder, name: str) -> Iterator[Lease]:
    """Hold a lease while the context lasts; LockedError if another process holds it."""
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
    """Say whether a process of this machine lives; signal 0 only tests for existence."""
    if not isinstance(pid, int) or pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
