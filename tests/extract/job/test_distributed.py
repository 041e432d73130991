"""Worker processes write the store that one process writes, also when they are really killed on the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from distributed import Client, LocalCluster

from icecore.extract import ExtractSettings, Progress, extract
from icecore.extract.files.passing import PassingError
from icecore.extract.job import distributed
from icecore.store import IcecoreError, IdentityError, UsageError, open_store, verify
from icecore.store import cluster as store_cluster

from ..conftest import make_csv, make_folder

NUM_ROWS = 61
pytestmark = pytest.mark.slow


@pytest.fixture
def settings(settings: ExtractSettings) -> ExtractSettings:
    return settings.model_copy(update={"dtype": "int8", "batch_size": 2})


@pytest.fixture
def source(tmp_path: Path) -> str:
    source = make_folder(tmp_path / "images", NUM_ROWS)
    (tmp_path / "images" / "train" / "cow" / "017.jpg").write_bytes(b"")
    return source


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with (
        LocalCluster(n_workers=2, processes=True, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local),
    ):  # pyright: ignore
        yield local  # pyright: ignore


def arrays(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("layers/**/*") if path.is_file()}


def kill_all_workers(address: str, store: Path, killed: list[int]) -> None:
    """Wait until some shard is written and others are in hand, then kill every worker there is."""
    while not list(store.glob("ledger/*")) or not list(store.glob("partial/*")):
        time.sleep(0.002)
    with Client(address, set_as_default=False) as client:
        for pid in client.run(os.getpid).values():  # pyright: ignore
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)


def test_killed_workers_lose_nothing(
    source: str, settings: ExtractSettings, tmp_path: Path, cluster: LocalCluster
) -> None:
    alone, many, killed = tmp_path / "alone.ice", tmp_path / "many.ice", list[int]()
    extract(source, str(alone), settings)
    killer = threading.Thread(target=kill_all_workers, args=(cluster.scheduler_address, many, killed))
    killer.start()
    scheduler = settings.model_copy(update={"scheduler": cluster.scheduler_address})
    seen: list[Progress] = []
    report = extract(source, str(many), scheduler, seen.append)
    killer.join()
    assert len(killed) == 2
    assert (report.num_rows, report.num_failed) == (NUM_ROWS, 1)
    assert arrays(many) == arrays(alone)
    assert open_store(str(many)).failed == open_store(str(alone)).failed
    assert verify(str(many)) == []
    assert seen[-1].num_done <= NUM_ROWS
    assert extract(source, str(many), scheduler).num_skipped == NUM_ROWS


def test_a_scheduler_that_dies_stops_the_job_in_one_line_and_loses_nothing(
    source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    store, known = tmp_path / "s.ice", tmp_path / "scheduler.json"
    dask = [str(Path(sys.executable).with_name("dask"))]
    ours: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen([*dask, "scheduler", "--port", "0", "--scheduler-file", str(known)], **ours)
    worker = subprocess.Popen([*dask, "worker", "--scheduler-file", str(known), "--nthreads", "1"], **ours)
    try:
        while not known.exists():
            time.sleep(0.05)
        address = json.loads(known.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        threading.Thread(target=kill_after_a_shard, args=(scheduler.pid, store), daemon=True).start()
        with pytest.raises(PassingError, match=rf"scheduler '{address}': is gone .* go on with: icecore extract"):
            extract(source, str(store), settings.model_copy(update={"scheduler": address}))
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert 0 < open_store(str(store)).num_missing < NUM_ROWS
    assert extract(source, str(store), settings).num_skipped > 0
    assert verify(str(store)) == []


def kill_after_a_shard(pid: int, store: Path) -> None:
    while not list(store.glob("ledger/*.json")):
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


def test_a_cluster_of_this_machine_finishes_what_one_process_began(
    checkpoint: str, settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_csv(tmp_path)
    monkeypatch.chdir(tmp_path)  # relative paths mean the same to workers
    extract("csv:list.csv", "alone.ice", settings)
    extract("csv:list.csv", "many.ice", settings.model_copy(update={"layers": "0,3"}))
    seen: list[Progress] = []
    extract("csv:list.csv", "many.ice", settings.model_copy(update={"workers": 2}), seen.append)
    assert arrays(Path("many.ice")) == arrays(Path("alone.ice"))
    assert seen[-1].num_done == 23


def test_as_many_workers_start_as_are_asked_for() -> None:
    with store_cluster.connect_cluster(None, 3) as client:
        client.wait_for_workers(3, timeout=60)
        assert list(client.nthreads().values()) == [1, 1, 1]  # pyright: ignore


def test_a_worker_says_what_is_wrong(
    source: str, settings: ExtractSettings, tmp_path: Path, cluster: LocalCluster
) -> None:
    strict = settings.model_copy(update={"scheduler": cluster.scheduler_address, "strict": True})
    with pytest.raises(IcecoreError, match=r"train/cow/017.jpg': ValueError: no known image format in 0 bytes"):
        extract(source, str(tmp_path / "s.ice"), strict)


def test_workers_of_two_kinds_are_refused(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"workers": 2, "scheduler": "tcp://127.0.0.1:9"})
    with pytest.raises(UsageError, match=r"workers 2 and scheduler 'tcp://127\.0\.0\.1:9'; expected one of the two"):
        extract(source, str(tmp_path / "s.ice"), settings)


def test_a_scheduler_that_is_not_there_is_said_so(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"scheduler": "tcp://127.0.0.1:9"})
    with pytest.raises(UsageError, match=r"scheduler 'tcp://127\.0\.0\.1:9': .*; expected the address of a dask sched"):
        extract(source, str(tmp_path / "s.ice"), settings)


def test_a_cluster_without_workers_is_not_waited_for(
    source: str, settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as empty:  # pyright: ignore
        empty.scale(0)  # pyright: ignore
        while empty.scheduler.workers:  # pyright: ignore
            time.sleep(0.01)
        settings = settings.model_copy(update={"scheduler": empty.scheduler_address})  # pyright: ignore
        with pytest.raises(IcecoreError, match=r"has no workers; start some with: dask worker"):
            extract(source, str(tmp_path / "s.ice"), settings)
        monkeypatch.setattr(store_cluster, "WORKERLESS_SECONDS", 0.5)
        monkeypatch.setattr(store_cluster, "_require_workers", lambda _: None)
        with pytest.raises(IcecoreError, match="no worker for 0 s; finished work is kept: start workers"):
            extract(source, str(tmp_path / "s.ice"), settings)


def test_other_weights_on_a_worker_are_refused(
    source: str, settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "s.ice")
    extract(source, url, settings.model_copy(update={"limit": 9}))
    other = tmp_path / "other.safetensors"
    tensors = safetensors.torch.load_file(settings.checkpoint or "")
    safetensors.torch.save_file({name: tensor + 1 for name, tensor in tensors.items()}, other)
    with pytest.raises(IdentityError, match="test_vit: has other weights on this worker; pass the same --checkpoint"):
        distributed._job(source, url, "t", settings.model_copy(update={"checkpoint": str(other)}).model_dump_json(), 6)
    key = open_store(url).samples["key"][0].as_py()
    (tmp_path / "images" / key).unlink()
    with pytest.raises(IcecoreError, match=rf"lacks '{key}' on this worker; expected it where every"):
        distributed._job(source, url, "u", settings.model_dump_json(), 6)
