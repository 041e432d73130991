"""Locks that admit one writer at a time: `flock` in local folders, released when the process dies; elsewhere leases."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import IcecoreError, LockedError, UsageError
from .fenced import FencedLocation
from .local_folder import LocalFolder
from .location import Location, open_location
from .remote_folder import RemoteFolder
from .room import room_on_disk

LOCK = "lock"
RENEW_SECONDS = 10.0  # between renewals of a lease
STALE_SECONDS = 60.0


@runtime_checkable
class Held(Protocol):
    """A lock that this process holds."""

    @property
    def token(self) -> str:
        """The random token that identifies the holder."""
        ...

    def require(self) -> None:
        """Raise LockedError if the lock was lost."""
        ...


@dataclass(frozen=True, slots=True)
class Flock:
    """A lock of the operating system, which cannot be lost while its holder lives."""

    token: str

    def require(self) -> None:
        """Do nothing: the lock cannot be lost."""


@dataclass(frozen=True, slots=True)
class Writing:
    """A location locked for writing, fenced so that writes fail once the lock is lost, and the writer's token."""

    location: Location
    token: str


@contextlib.contextmanager
def only_writer(folder: str) -> Iterator[str]:
    """Lock a folder at a path or fsspec URL for writing, and yield the token; LockedError names the present holder."""
    held = contextlib.ExitStack()
    with held:
        with room_on_disk(folder, "free some space and run the command again"):
            token = held.enter_context(writing(open_location(folder))).token
        yield token


@contextlib.contextmanager
def writing(location: Location) -> Iterator[Writing]:
    """Lock a location for writing, and remove unfinished files; LockedError if another process holds it."""
    with hold(location, LOCK) as held:
        _delete_partial(location)
        try:
            yield Writing(fenced(location, held), held.token)
        finally:
            _delete_partial(location)


def fenced(location: Location, held: Held) -> Location:
    """Return the location fenced by the lock, or as it is where the lock cannot be lost."""
    return location if isinstance(held, Flock) else FencedLocation(location, held.require)


def _delete_partial(location: Location) -> None:
    if isinstance(location, LocalFolder):
        location.delete_partial()


def writer_token(location: Location) -> str | None:
    """Return the token of the process that holds the location for writing; None where no process does."""
    try:
        return parse(location.read(LOCK)).get("token")
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def hold(location: Location, name: str) -> Iterator[Held]:
    """Hold one lock file; LockedError names the host, process and start time of the present holder."""
    if isinstance(location, LocalFolder):
        with _flock(location, name) as token:
            yield Flock(token)
        return
    from .lease import leased

    assert isinstance(location, RemoteFolder)
    with leased(location, name) as lease:
        yield lease


@contextlib.contextmanager
def _flock(location: LocalFolder, name: str) -> Iterator[str]:
    path, ours = Path(location.url) / name, signature()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        file.seek(0)
        held = file.read()
        if not is_signature(held):
            raise UsageError(f"{path}: is not a lock file of icecore; choose another place, or remove the file")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise locked(location, name, parse(held)) from None
        except OSError as error:
            raise IcecoreError(
                f"{path}: cannot be locked ({error.strerror}); choose a file system that has locks"
            ) from None
        file.truncate(0)
        file.write(json.dumps(ours).encode())
        try:
            yield ours["token"]
        finally:
            file.truncate(0)


def signature() -> dict[str, Any]:
    """Return a new content for a lock file: host, process, time and a random token."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now, "token": uuid.uuid4().hex}


def is_signature(data: bytes) -> bool:
    """Say whether bytes are a lock file of icecore: empty, a signature, or the beginning of one (a killed write)."""
    begin = b'{"host": '
    return data.startswith(begin) or begin.startswith(data)


def parse(data: bytes) -> dict[str, Any]:
    """Return the signature in a lock file; empty where it holds none."""
    try:
        holder = json.loads(data.decode(errors="replace"))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def locked(location: Location, name: str, holder: dict[str, Any]) -> LockedError:
    """Return the error that names the holder of a lock."""
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')} (since {holder.get('since', '?')})"
    what = "it" if name == LOCK else name
    return LockedError(f"{location.url}: {who} is writing {what}; wait for it or stop it")
