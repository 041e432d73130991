"""A store that grows may die before any single change of a file: what it had stays readable, and it grows on."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
import zarr
from fsspec.implementations.memory import MemoryFileSystem
from torch import Tensor

from icecore.store import FrozenBackbone, StoreSpec, open_store, verify

from ..conftest import FROZEN, LAYER, fill, make_spec, make_tokens

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
DEEPER = FrozenBackbone({"family": "vit", "deep": True}, {**FROZEN.tensors, "blocks.1.weight": torch.ones(24)})
NUM_ROWS = 21  # one full shard and a part of one
TOKENS = make_tokens(34)
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}  # audit events, before it happens


@dataclass(frozen=True)
class Request:
    """What a writer is asked for."""

    layers: tuple[int, ...] = (0,)
    views: int = 1
    num_rows: int = NUM_ROWS
    dtype: str = "float32"
    frozen: FrozenBackbone = FROZEN

    @property
    def spec(self) -> StoreSpec:
        augmentation = None if self.views == 1 else "flip"
        identity = {"layers": self.layers, "views": self.views, "augmentation": augmentation}
        spec = make_spec(self.num_rows, dtype=self.dtype, identity=identity, shard_rows=16)
        return spec.model_copy(update={"layers": dict.fromkeys(self.layers, LAYER)})

    @property
    def tokens(self) -> dict[int, Tensor]:
        return {layer: tokens[: self.num_rows] for layer, tokens in TOKENS.items()}

    def write(self, url: str, num_shards: int | None = None) -> None:
        fill(url, self.tokens, self.spec, num_shards=num_shards, frozen=self.frozen)


GROWTHS = {
    "rows": (Request(), Request(num_rows=34)),
    "layers": (Request(), Request(layers=(0, 3))),
    "deeper": (Request(), Request(layers=(0, 3), frozen=DEEPER)),
    "views": (Request(), Request(views=2)),
    "int4-layers": (Request(dtype="int4"), Request(dtype="int4", layers=(0, 3))),
    "all": (Request(dtype="int8"), Request((0, 3), 2, 34, "int8", DEEPER)),
}


def names(url: str) -> set[str]:
    filesystem, root = fsspec.url_to_fs(url)
    return {path.removeprefix(str(root)) for path in filesystem.find(root) if not path.endswith("/lock")}


def check_that_nothing_is_lost(url: str, first: Request) -> None:
    """What the store had is there, for every reader, and repair finds nothing damaged."""
    store = open_store(url)
    rows = np.arange(NUM_ROWS)
    bound = {"float32": 0.0, "int8": 0.03, "int4": 0.5}[first.dtype]
    assert float((store.layer(0).rows(rows) - TOKENS[0][:NUM_ROWS]).abs().max()) <= bound
    assert {"norm.weight"} <= store.frozen().tensors.keys()
    assert {problem.kind for problem in verify(url, repair=True)} <= {"missing"}
    assert open_store(url).coverage.covered(0, 0)[rows].all()
    array = zarr.open_array(f"{url}/layers/00/values", mode="r")
    assert array.shape[1] in (NUM_ROWS, 34)
    assert np.array_equal(np.asarray(array[0, :NUM_ROWS]), store.layer(0).parts(rows)["values"])


def check_that_it_goes_on(url: str, first: Request, more: Request, before: set[str], grown: set[str]) -> None:
    """Whichever is asked for, what was there or more, is there in the end, and no other file."""
    if open_store(url).spec.identity == first.spec.identity:
        first.write(url)
        assert names(url) == before
    more.write(url)
    assert verify(url) == []
    assert names(url) == grown


def _grow_until(url: str, more: Request, last: int) -> None:
    """Grow a store; die right before the `last`-th change of one of its files."""
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wa+")
        if (writes or event in CHANGES) and str(arguments[0]).startswith(url):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)  # the parent's thread pool does not survive a fork
    sys.addaudithook(watch)
    more.write(url, num_shards=0)


def _dies(url: str, more: Request, last: int) -> bool:
    child = os.fork()
    if child == 0:
        try:
            _grow_until(url, more, last)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rows", "int4-layers", "all"])
def test_killed_before_every_change_of_a_file(tmp_path: Path, kind: str) -> None:
    first, more = GROWTHS[kind]
    begun, whole = str(tmp_path / "begun.ice"), str(tmp_path / "whole.ice")
    first.write(begun)
    shutil.copytree(begun, whole)
    more.write(whole)
    grown, last = names(whole), 0
    url = str(tmp_path / "killed.ice")
    while True:
        last += 1
        shutil.copytree(begun, url)
        if not _dies(url, more, last):
            break
        check_that_nothing_is_lost(url, first)
        check_that_it_goes_on(url, first, more, names(begun), grown)
        shutil.rmtree(url)
    assert last > 15


class Killed(BaseException):
    """Not an error: the process is gone."""


class Dying(MemoryFileSystem):
    """Memory of a process that dies before a change of a file; nothing that it does from then on has an effect."""

    protocol = "dying"
    left = 10**9

    def _change(self) -> None:
        type(self).left -= 1
        if self.left < 0:
            raise Killed

    def pipe_file(self, *args, **kwargs):
        self._change()
        return super().pipe_file(*args, **kwargs)

    def put_file(self, *args, **kwargs):
        self._change()
        return super().put_file(*args, **kwargs)

    def rm_file(self, *args, **kwargs):
        self._change()
        return super().rm_file(*args, **kwargs)


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Request, int], bool]]:
    """Return a function that grows a remote store, and says whether it died before the `last`-th change."""
    fsspec.register_implementation("dying", Dying, clobber=True)

    def grow(url: str, more: Request, last: int) -> bool:
        Dying.left = last - 1
        try:
            more.write(url.replace("memory://", "dying://"), num_shards=0)
        except Killed:
            return True
        finally:
            Dying.left = 10**9
            MemoryFileSystem.store.pop(f"{url.removeprefix('memory:/')}/lock", None)  # its minute is over
        return False

    yield grow
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.mark.slow
@pytest.mark.parametrize("kind", GROWTHS)
def test_killed_before_every_change_of_an_object(dies: Callable[[str, Request, int], bool], kind: str) -> None:
    first, more = GROWTHS[kind]
    url, memory = "memory://grow/s.ice", MemoryFileSystem.store
    first.write(url)
    begun, before = dict(memory), names(url)
    more.write(url)
    grown, last = names(url), 0
    while True:
        last += 1
        memory.clear()
        memory.update(begun)
        if not dies(url, more, last):
            break
        check_that_nothing_is_lost(url, first)
        check_that_it_goes_on(url, first, more, before, grown)
    assert last > 5
