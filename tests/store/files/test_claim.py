"""Several processes write shards for one writer, and never two of them the same shard."""

import multiprocessing
import threading
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icecore.store import LockedError, StoreAccess, StoreWriter, open_shard, open_store, open_writer, verify

from ..conftest import FROZEN, fill, make_samples, make_spec

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
FORK = multiprocessing.get_context("fork")


def write(writer: StoreWriter, tokens: dict[int, Tensor]) -> int:
    todo = writer.todo
    for shard in todo:
        with writer.shard(shard) as out:
            rows = list(range(shard.start, shard.stop))
            out.append(rows, {layer: tokens[layer][rows] for layer in shard.layers})
    return len(todo)


def _write_shard(given: StoreAccess, shard: int, tokens: dict[int, Tensor]) -> None:
    torch.set_num_threads(1)
    with open_shard(given, shard) as writer:
        write(writer, tokens)


def _hold_shard(given: SimpleQueue[StoreAccess], held: Event) -> None:
    with open_shard(given.get(), 0):
        held.set()
        time.sleep(100)


@pytest.fixture
def holder() -> Iterator[tuple[BaseProcess, SimpleQueue[StoreAccess], Event]]:
    """A process that holds shard 0 for ever once it is given a pass; forked early, so that it inherits no lock."""
    given: SimpleQueue[StoreAccess] = FORK.SimpleQueue()
    held = FORK.Event()
    child = FORK.Process(target=_hold_shard, args=(given, held), daemon=True)
    child.start()
    yield child, given, held
    child.kill()
    child.join()


@pytest.mark.parametrize("dtype", ["float32", "int4"])
def test_shards_of_other_processes_make_the_store_of_one(
    dtype: str, url: str, tokens: dict[int, Tensor], tmp_path: Path
) -> None:
    spec, alone = make_spec(dtype=dtype, shard_rows=32), str(tmp_path / "alone.ice")
    fill(alone, tokens, spec)
    with open_writer(url, spec, make_samples(), FROZEN, lambda ks: {k: tokens[k][::7] for k in ks}) as writer:
        indices = [shard.index for shard in writer.todo]
        children = [FORK.Process(target=_write_shard, args=(writer.access, i, tokens)) for i in indices]
        for child in children:
            child.start()
        for child in children:
            child.join()
    assert [child.exitcode for child in children] == [0] * 7
    assert verify(url) == []
    ours, theirs = (sorted(path for path in Path(top).rglob("layers/**/*") if path.is_file()) for top in (url, alone))
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]
    assert not list(Path(url).glob("claims/*"))


def test_a_shard_that_was_written_is_not_written_again(url: str, tokens: dict[int, Tensor]) -> None:
    with open_writer(url, make_spec(), make_samples(), FROZEN) as writer:
        with open_shard(writer.access, 1) as one:
            assert write(one, tokens) == 1
        with open_shard(writer.access, 1) as one:
            assert write(one, tokens) == 0
    assert open_store(url).num_missing == 203 - 64


def test_a_held_shard_is_waited_for_until_its_process_is_gone(
    url: str, tokens: dict[int, Tensor], holder: tuple[BaseProcess, SimpleQueue[StoreAccess], Event]
) -> None:
    child, given, held = holder
    with open_writer(url, make_spec(), make_samples(), FROZEN) as writer:
        given.put(writer.access)
        held.wait()
        threading.Timer(1, child.kill).start()
        started = time.monotonic()
        with open_shard(writer.access, 0) as one:
            assert write(one, tokens) == 1
        assert time.monotonic() - started > 0.9


def test_the_next_writer_waits_for_workers_of_the_last(
    url: str, tokens: dict[int, Tensor], holder: tuple[BaseProcess, SimpleQueue[StoreAccess], Event]
) -> None:
    child, given, held = holder
    with open_writer(url, make_spec(), make_samples(), FROZEN) as writer:
        given.put(writer.access)
        held.wait()
    with pytest.raises(LockedError, match=rf"process {child.pid} on .* is writing claims/000000; wait for it or stop"):
        fill(url, tokens)
    child.kill()
    child.join()
    fill(url, tokens)
    assert verify(url) == []


def test_a_worker_whose_writer_is_gone_writes_nothing(url: str, tokens: dict[int, Tensor]) -> None:
    with open_writer(url, make_spec(), make_samples(), FROZEN) as writer:
        given = writer.access
    with pytest.raises(LockedError, match="is no longer written by the process"), open_shard(given, 0):
        pass
    with open_writer(url, make_spec(), make_samples(), FROZEN) as writer:
        one = StoreWriter(writer._location, writer._root, {}, "gone", {}, range(1), range(203))
        with pytest.raises(LockedError, match="no longer written"):
            write(one, tokens)
        assert len(writer.todo) == 4
    assert not list(Path(url).glob("ledger/*"))
