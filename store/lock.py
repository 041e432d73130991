"""One writer at a time: locally a lock that the operating system lets go when its holder dies, elsewhere a lease."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import LockedError, UsageError
from .location import LocalFolder, Location, open_location

LOCK = "lock"
RENEW_SECONDS = 10.0
STALE_SECONDS = 60.0


def only_writer(folder: str) -> contextlib.AbstractContextManager[str]:
    """Hold a folder at a path or fsspec URL for writing; LockedError names who does."""
    return writing(open_location(folder))


@contextlib.contextmanager
def writing(location: Location) -> Iterator[str]:
    """Hold a store for writing, and yield the token that `writer_token` now reads; else LockedError."""
    with hold(location, LOCK) as token:
        _delete_partial(location)
        try:
            yield token
        finally:
            _delete_partial(location)


def _delete_partial(location: Location) -> None:
    if isinstance(location, LocalFolder):
        location.delete_partial()


def writer_token(location: Location) -> str | None:
    """Return the token of who holds the store for writing; None where nobody does."""
    return _read(location, LOCK).get("token")


def hold(location: Location, name: str) -> contextlib.AbstractContextManager[str]:
    """Hold one lock file and yield a token; LockedError names the host, process and time of the one that holds it."""
    return _flock(location, name) if isinstance(location, LocalFolder) else _lease(location, name)


@contextlib.contextmanager
def _flock(location: LocalFolder, name: str) -> Iterator[str]:
    path, ours = Path(location.url) / name, _signature()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        file.seek(0)
        held = file.read()
        if not is_signature(held):
            raise UsageError(f"{path}: is not a lock of icecore's; choose another place, or remove the file")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _locked(location, name, _parse(held.decode(errors="replace"))) from None
        file.truncate(0)
        file.write(json.dumps(ours).encode())
        try:
            yield ours["token"]
        finally:
            file.truncate(0)


@contextlib.contextmanager
def _lease(location: Location, name: str) -> Iterator[str]:
    """A file that its holder renews: one that is not renewed for a minute, or whose process is gone, is stale.

    Object stores have no lock that dies with its holder. Two processes that start within the same moment are told apart
    by reading the lease back.
    """
    holder = _read(location, name)
    if holder and not _is_stale(holder):
        raise _locked(location, name, holder)
    ours = _signature()
    _renew(location, name, ours)
    time.sleep(0.2)
    found = _read(location, name)
    if found.get("token") != ours["token"]:
        raise _locked(location, name, found)
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(location, name, ours, stop), daemon=True)
    keeper.start()
    try:
        yield ours["token"]
    finally:
        stop.set()
        keeper.join()
        location.delete(name)


def _keep(location: Location, name: str, ours: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(RENEW_SECONDS):
        _renew(location, name, ours)


def _renew(location: Location, name: str, ours: dict[str, Any]) -> None:
    location.write(name, json.dumps({**ours, "renewed": time.time()}).encode())


def _read(location: Location, name: str) -> dict[str, Any]:
    try:
        return _parse(location.read(name).decode(errors="replace"))
    except FileNotFoundError:
        return {}


def _is_stale(holder: dict[str, Any]) -> bool:
    if holder.get("host") == socket.gethostname() and not Path(f"/proc/{holder.get('pid')}").exists():
        return Path("/proc/self").exists()
    return time.time() - float(holder.get("renewed", 0)) > STALE_SECONDS


def _signature() -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": now, "token": uuid.uuid4().hex}


def is_signature(data: bytes) -> bool:
    """Say whether a lock file is ours: empty, a holder's signature, or the beginning of one."""
    begin = b'{"host": '
    return data.startswith(begin) or begin.startswith(data)


def _parse(text: str) -> dict[str, Any]:
    try:
        holder = json.loads(text)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _locked(location: Location, name: str, holder: dict[str, Any]) -> LockedError:
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')} (since {holder.get('since', '?')})"
    what = "it" if name == LOCK else name
    return LockedError(f"{location.url}: {who} is writing {what}; wait for it or stop it")
