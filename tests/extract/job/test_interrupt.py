"""Real processes, real Ctrl-C: in the terminal it reaches the workers too, and nothing is lost or left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from icecore.extract import ExtractSettings, extract
from icecore.store import verify

from ..conftest import BACKBONE, make_folder

NUM_ROWS = 400
pytestmark = pytest.mark.slow
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def source(tmp_path: Path) -> str:
    return make_folder(tmp_path / "images", NUM_ROWS)


@pytest.fixture
def start(source: str, checkpoint: str, tmp_path: Path) -> Iterator[Start]:
    """The command in a process group of its own, as a shell starts it."""
    processes: list[subprocess.Popen] = []

    def start(*more: str) -> subprocess.Popen:
        words = ["--backbone", BACKBONE, "--checkpoint", checkpoint, "--shard-rows", "16", "--batch-size", "4", *more]
        icecore = str(Path(sys.executable).with_name("icecore"))
        command = [icecore, "extract", source, str(tmp_path / "s.ice"), *words]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_a_shard(store: Path, process: subprocess.Popen) -> None:
    while not (list(store.glob("ledger/*")) and list(store.glob("partial/*"))):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)


def resume(source: str, checkpoint: str, store: Path) -> int:
    settings = ExtractSettings(backbone=BACKBONE, checkpoint=checkpoint, batch_size=4)
    report = extract(source, str(store), settings)
    assert verify(str(store)) == []
    return report.num_skipped


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_ctrl_c_drops_what_is_in_flight_and_says_how_to_go_on(
    more: tuple[str, ...], start: Start, source: str, checkpoint: str, tmp_path: Path
) -> None:
    store, process = tmp_path / "s.ice", start(*more)
    wait_for_a_shard(store, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    lines = [line for line in err.splitlines() if line and not line.startswith("split ")]  # told before the first row
    assert lines[0].startswith("icecore: stopping: shards in flight are dropped, finished ones are kept; Ctrl-C again")
    assert "finished shards are kept, go on with: icecore extract folder:" in lines[1]
    assert len(lines) == 2, err
    assert not list(store.glob("partial/*"))
    assert 0 < resume(source, checkpoint, store) < NUM_ROWS


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(
    more: tuple[str, ...], start: Start, source: str, checkpoint: str, tmp_path: Path
) -> None:
    store, process = tmp_path / "s.ice", start(*more)
    wait_for_a_shard(store, process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), err  # the latter where Python had put its handlers away
    assert "Traceback" not in err
    time.sleep(1)  # workers see that their parent is gone
    assert 0 < resume(source, checkpoint, store) < NUM_ROWS
