"""One writer at a time: locally a lock that the operating system lets go when its holder dies, elsewhere a lease."""

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
from .location import LocalFolder, Location, RemoteFolder, open_location
from .room import room_on_disk

LOCK = "lock"
RENEW_SECONDS = 10.0  # of a lease
STALE_SECONDS = 60.0


@runtime_checkable
class Held(Protocol):
    """A lock that is held."""

    @property
    def token(self) -> str:
        """What names the holder."""
        ...

    def require(self) -> None:
        """Raise LockedError where the lock was lost."""
        ...


@dataclass(frozen=True, slots=True)
class Flock:
    """A lock of the operating system: while its holder lives, nothing takes it away."""

    token: str

    def require(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Writing:
    """A store that is held for writing: its files, every change of which is refused once it is lost, and the token."""

    location: Location
    token: str


@contextlib.contextmanager
def only_writer(folder: str) -> Iterator[str]:
    """Hold a folder at a path or fsspec URL for writing; LockedError names who does."""
    held = contextlib.ExitStack()
    with held:
        with room_on_disk(folder, "free some space and run the command again"):
            token = held.enter_context(writing(open_location(folder))).token
        yield token


@contextlib.contextmanager
def writing(location: Location) -> Iterator[Writing]:
    """Hold a store for writing under a token that `writer_token` now reads; else LockedError."""
    with hold(location, LOCK) as held:
        _delete_partial(location)
        try:
            yield Writing(fenced(location, held), held.token)
        finally:
            _delete_partial(location)


def fenced(location: Location, held: Held) -> Location:
    """Return the location for a holder that may lose it; a lock of the operating system is never lost."""
    return location if isinstance(held, Flock) else FencedLocation(location, held.require)


def _delete_partial(location: Location) -> None:
    if isinstance(location, LocalFolder):
        location.delete_partial()


def writer_token(location: Location) -> str | None:
    """Return the token of who holds the store for writing; None where nobody does."""
    try:
        return parse(location.read(LOCK)).get("token")
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def hold(location: Location, name: str) -> Iterator[Held]:
    """Hold one lock file; LockedError names the host, process and time of the one that holds it."""
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
            raise UsageError(f"{path}: is not a lock of icecore's; choose another place, or remove the file")
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
    """Return what a holder writes into its lock file."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now, "token": uuid.uuid4().hex}


def is_signature(data: bytes) -> bool:
    """Say whether a lock file is ours: empty, a holder's signature, or the beginning of one."""
    begin = b'{"host": '
    return data.startswith(begin) or begin.startswith(data)


def parse(data: bytes) -> dict[str, Any]:
    """Return what a lock file says of its holder; nothing where it says nothing."""
    try:
        holder = json.loads(data.decode(errors="replace"))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def locked(location: Location, name: str, holder: dict[str, Any]) -> LockedError:
    """Return the error that names who holds a lock."""
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')} (since {holder.get('since', '?')})"
    what = "it" if name == LOCK else name
    return LockedError(f"{location.url}: {who} is writing {what}; wait for it or stop it")
