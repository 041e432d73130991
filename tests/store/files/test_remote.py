"""The same promises on object stores: nothing is assumed but that one put is whole."""

import itertools
import json
import os
import socket
import time

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from torch import Tensor

from icecore.store import IcecoreError, IntegrityError, LockedError, UsageError, open_store, verify
from icecore.store.files import lock, remote_folder

from ..conftest import NUM_ROWS, fill, make_spec

NUMBER = itertools.count()


@pytest.fixture(params=["memory", "s3"])
def remote(request: pytest.FixtureRequest) -> str:
    root = request.getfixturevalue("s3") if request.param == "s3" else "memory://ice"
    return f"{root}/{next(NUMBER)}/s.ice"


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_a_remote_store_is_written_resumed_verified_and_read(remote: str, tokens: dict[int, Tensor]) -> None:
    fill(remote, tokens, make_spec(dtype="int8"), num_shards=1)
    assert open_store(remote).num_missing == NUM_ROWS - 64
    fill(remote, tokens, make_spec(dtype="int8"))
    store = open_store(remote)
    assert verify(remote) == []
    assert float((store.layer(3).rows(slice(50, 190)) - tokens[3][50:190]).abs().max()) < 0.03
    filesystem, root = fsspec.url_to_fs(remote, use_listings_cache=False)
    assert not filesystem.exists(f"{root}/lock")
    filesystem.rm_file(f"{root}/layers/03/values/c/0/2/0/0")
    with pytest.raises(IntegrityError, match="is missing though the ledger lists it"):
        store.layer(3).rows(slice(130, 140))
    assert [(problem.layer, problem.rows) for problem in verify(remote, repair=True)] == [(3, (128, 192))]
    fill(remote, tokens, make_spec(dtype="int8"))
    assert verify(remote) == []


class Flaky(MemoryFileSystem):
    """Memory, three requests in ten of which fail."""

    protocol = "flaky"
    calls = itertools.count()

    def _stumble(self) -> None:
        if next(self.calls) % 10 in (2, 3, 7):
            raise ConnectionResetError("connection reset by peer")

    def cat_file(self, *args, **kwargs):
        self._stumble()
        return super().cat_file(*args, **kwargs)

    def pipe_file(self, *args, **kwargs):
        self._stumble()
        return super().pipe_file(*args, **kwargs)

    def put_file(self, *args, **kwargs):
        self._stumble()
        return super().put_file(*args, **kwargs)

    def rm_file(self, *args, **kwargs):
        self._stumble()
        return super().rm_file(*args, **kwargs)


def test_failing_requests_are_tried_again(tokens: dict[int, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_folder, "FIRST_DELAY_SECONDS", 0.001)
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    fill("flaky://ice/s.ice", tokens)
    assert verify("flaky://ice/s.ice") == []
    assert torch.equal(open_store("flaky://ice/s.ice").layer(0).rows(slice(None)), tokens[0])


def test_a_store_that_is_down_is_one_line(tokens: dict[int, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_folder, "FIRST_DELAY_SECONDS", 0.0001)
    monkeypatch.setattr(Flaky, "calls", itertools.repeat(2))
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    with pytest.raises(IcecoreError, match=r"flaky://ice/down.ice: still failing after 6 tries \(connection reset"):
        fill("flaky://ice/down.ice", tokens)


def test_a_bucket_that_is_not_there_is_one_line(s3: str, tokens: dict[int, Tensor]) -> None:
    with pytest.raises(IcecoreError, match=r"s3://nowhere/s.ice: the bucket or folder to write to is not there"):
        fill("s3://nowhere/s.ice", tokens)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError("Forbidden"), r"access denied \(Forbidden\); check credentials"),
        (
            RuntimeError("Unable to locate credentials"),
            r"RuntimeError \(Unable to locate credentials\); check the address",
        ),
    ],
)
def test_a_store_that_may_not_be_reached_is_one_line(
    tokens: dict[int, Tensor], monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    for name in ("pipe_file", "cat_file", "ls", "exists"):
        monkeypatch.setattr(MemoryFileSystem, name, refuse)
    with pytest.raises(IcecoreError, match=f"memory://ice/denied.ice: {message}"):
        fill("memory://ice/denied.ice", tokens)
    with pytest.raises(IcecoreError, match=message):
        open_store("memory://ice/denied.ice")


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(UsageError, match="no way to open gopher:// URLs"):
        open_store("gopher://hole/s.ice")


def _lease(url: str, **holder: object) -> None:
    fsspec.filesystem("memory").pipe_file(f"{url.removeprefix('memory://')}/lock", json.dumps(holder).encode())


def test_a_live_lease_refuses_and_a_dead_one_does_not(tokens: dict[int, Tensor]) -> None:
    url = f"memory://ice/{next(NUMBER)}/s.ice"
    here = socket.gethostname()
    _lease(url, host=here, pid=os.getpid(), since="now", renewed=time.time())
    with pytest.raises(LockedError, match=f"process {os.getpid()} on {here}"):
        fill(url, tokens)
    _lease(url, host="elsewhere", pid=1, since="now", renewed=time.time() - lock.STALE_SECONDS + 10)
    with pytest.raises(LockedError, match="process 1 on elsewhere"):
        fill(url, tokens)
    _lease(url, host="elsewhere", pid=1, since="now", renewed=time.time() - lock.STALE_SECONDS - 1)
    fill(url, tokens, num_shards=1)
    _lease(url, host=here, pid=2**22 + 1, since="now", renewed=time.time())
    fill(url, tokens)
    assert open_store(url).num_missing == 0
