"""Stores are written, verified and read where the calls that only Linux has are taken away."""

import fcntl
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from icecore.store import LockedError, only_writer, open_store, verify

from .conftest import fill


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take away what macOS lacks, give it what it has, and return the descriptors that were synced in full."""
    synced: list[int] = []
    real = fcntl.fcntl

    def control(descriptor: int, command: int, *more: int) -> int:
        if command == 51:
            synced.append(descriptor)
            return 0
        return real(descriptor, command, *more)

    for name in ("preadv", "pwritev", "sched_getaffinity", "posix_fadvise", "posix_fallocate", "memfd_create"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("fsync reaches no further than the drive's cache"))
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: not str(path).startswith("/proc") and exists(path))
    return synced


def test_a_store_is_written_verified_and_read(url: str, tokens: dict[int, Tensor], macos: list[int]) -> None:
    fill(url, tokens, num_shards=2)
    fill(url, tokens)
    assert verify(url, repair=True) == []
    assert len(macos) > 20
    for rows in (slice(None), np.array([5, 3, 200, 3, 99])):
        assert torch.equal(open_store(url).layer(3).rows(rows), tokens[3][rows])
    with only_writer(url), pytest.raises(LockedError, match=f"process {os.getpid()}"):
        fill(url, tokens)


def test_a_drive_without_a_full_sync_is_synced_as_it_can_be(
    url: str, tokens: dict[int, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def control(*_: int) -> int:
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", synced.append)
    fill(url, tokens, num_shards=1)
    assert len(synced) > 10


def test_a_file_that_ends_early_is_noticed_without_preadv(
    url: str, tokens: dict[int, Tensor], macos: list[int]
) -> None:
    fill(url, tokens)
    path = Path(url, "layers/03/values/c/0/1/0/0")
    path.write_bytes(path.read_bytes()[:-9])
    assert {(problem.layer, problem.rows) for problem in verify(url)} == {(3, (64, 128))}
