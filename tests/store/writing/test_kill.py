"""A writer that is really killed, anywhere, loses at most the shards in flight; the next run finishes the store."""

import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from icecore.store import IcecoreError, open_store, verify

from ..conftest import NUM_ROWS, fill, make_spec, make_tokens

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]
FORK = multiprocessing.get_context("fork")
TOUCHES = (
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
)  # audit events of an operation on a file, each before it happens


def _fill_until(url: str, last: int, dtype: str) -> None:
    """Write a store; die right before touching its files for the `last`-th time."""
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in TOUCHES and str(arguments[0]).startswith(url):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)  # the parent's thread pool does not survive a fork
    sys.addaudithook(watch)
    fill(url, make_tokens(), make_spec(dtype=dtype))
    Path(url + ".touches").write_text(str(count))


def _run(url: str, last: int, dtype: str = "float32") -> int | None:
    process = FORK.Process(target=_fill_until, args=(url, last, dtype))
    process.start()
    process.join()
    return process.exitcode


def _files(url: str) -> dict[str, bytes]:
    root = Path(url)
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("layers/**/*")) if path.is_file()
    }


def _check_what_is_there(url: str) -> None:
    """Whatever the ledger covers must be right, and nothing else may count."""
    if not Path(url, "zarr.json").exists():
        with pytest.raises(IcecoreError, match="is not an icecore store"):
            open_store(url)
        return
    store = open_store(url)
    tokens = make_tokens()
    for layer in store.layers:
        rows = store.coverage.complete().nonzero()[0]
        assert torch.equal(store.layer(layer).rows(rows), tokens[layer][rows])


def _finish(url: str, dtype: str = "float32") -> None:
    fill(url, make_tokens(), make_spec(dtype=dtype))
    assert verify(url) == []
    assert not (Path(url) / "partial").exists() or not list((Path(url) / "partial").iterdir())


def test_killed_before_every_single_file_operation(tmp_path: Path) -> None:
    whole = str(tmp_path / "whole.ice")
    assert _run(whole, -1) == 0
    touches = int(Path(whole + ".touches").read_text())
    assert touches > 100
    for last in range(1, touches + 1):
        url = str(tmp_path / f"{last}.ice")
        assert _run(url, last) == -signal.SIGKILL
        _check_what_is_there(url)
        _finish(url)
        assert _files(url) == _files(whole)


def test_killed_at_random_times_again_and_again(tmp_path: Path) -> None:
    whole, url = str(tmp_path / "whole.ice"), str(tmp_path / "killed.ice")
    started = time.monotonic()
    assert _run(whole, -1, "int8") == 0
    usual_seconds = time.monotonic() - started
    chance = random.Random(0)
    for _ in range(60):
        process = FORK.Process(target=_fill_until, args=(url, -1, "int8"))
        process.start()
        time.sleep(chance.uniform(0, usual_seconds))
        process.kill()
        process.join()
        if Path(url, "zarr.json").exists():
            assert open_store(url).num_missing <= NUM_ROWS
    _finish(url, "int8")
    assert _files(url) == _files(whole)
