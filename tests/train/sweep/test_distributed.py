"""Worker processes train what one process trains, also when they are really killed on the way."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from icecore.store import IcecoreError, LockedError, UsageError, only_writer
from icecore.train import train

from ..conftest import FAST, MakeStore

SETTINGS = FAST.model_copy(update={"lr": (1e-3, 1e-2), "layers": "0-2", "epochs": 6, "checkpoint_seconds": 0.0})
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with (
        LocalCluster(n_workers=2, processes=True, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local),
    ):  # pyright: ignore
        yield local  # pyright: ignore


def kill_a_worker_in_work(address: str, ledger: Path, killed: list[int]) -> None:
    """Wait for the first checkpoint, then kill every worker there is: each had something in hand."""
    while not list(ledger.glob("part-*")):
        time.sleep(0.01)
    with Client(address, set_as_default=False) as client:
        for pid in client.run(os.getpid).values():  # pyright: ignore
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)


@pytest.mark.parametrize("more", [{}, {"folds": 2, "adapters": ("linear", "ridge"), "heads": None}])
def test_killed_workers_change_nothing(
    make_store: MakeStore, tmp_path: Path, cluster: LocalCluster, more: dict[str, object]
) -> None:
    url, asked = make_store(planted=1), SETTINGS.model_copy(update=more)
    alone = train(url, str(tmp_path / "alone"), asked)
    killed: list[int] = []
    ledger, address = tmp_path / "many" / "ledger", cluster.scheduler_address
    killer = threading.Thread(target=kill_a_worker_in_work, args=(address, ledger, killed))
    killer.start()
    many = train(url, str(tmp_path / "many"), asked.model_copy(update={"scheduler": address}))
    killer.join()
    assert len(killed) == 2
    assert many.tensors().keys() == alone.tensors().keys()
    for name in ("adapters.safetensors", "validation.safetensors"):
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
    assert not list(ledger.glob("part-*"))


def test_a_cluster_of_this_machine_is_started_and_ended(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    heard: list[int] = []
    settings = SETTINGS.model_copy(update={"workers": 2, "layers": "0,1", "epochs": 2})
    run = train(url, str(tmp_path / "r"), settings, lambda progress: heard.append(progress.done))
    assert len(run.candidates) == 2 * 3 * 2
    assert heard[-1] == 2 * 3 * 2 * 2


def test_a_scheduler_that_is_not_there_is_said_so(make_store: MakeStore, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"scheduler": "tcp://127.0.0.1:9"})
    with pytest.raises(UsageError, match=r"scheduler 'tcp://127\.0\.0\.1:9': .*; expected the address of a dask sched"):
        train(make_store(), str(tmp_path / "r"), settings)


def test_a_cluster_without_workers_is_not_waited_for(make_store: MakeStore, tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as empty:  # pyright: ignore
        empty.scale(0)  # pyright: ignore
        while empty.scheduler.workers:  # pyright: ignore
            time.sleep(0.01)
        settings = SETTINGS.model_copy(update={"scheduler": empty.scheduler_address})  # pyright: ignore
        with pytest.raises(IcecoreError, match="has no workers; start some with: dask worker"):
            train(make_store(), str(tmp_path / "r"), settings)


def test_a_run_has_one_writer(make_store: MakeStore, tmp_path: Path) -> None:
    with only_writer(str(tmp_path / "r" / "ledger")), pytest.raises(LockedError, match=f"process {os.getpid()} on"):
        train(make_store(), str(tmp_path / "r"), FAST)


def test_an_extension_on_workers_is_the_same(make_store: MakeStore, tmp_path: Path, cluster: LocalCluster) -> None:
    first = make_store(labels=[row % 2 for row in range(131)], classes=("ant", "bee"), planted=1, name="a.ice")
    second, base = make_store(planted=1), str(tmp_path / "base")
    settings = SETTINGS.model_copy(update={"adapters": ("open_inca",), "layers": "1"})
    train(first, base, settings)
    new = settings.model_copy(update={"extend": base, "classes": "new"})
    alone = train(second, str(tmp_path / "alone"), new)
    many = train(second, str(tmp_path / "many"), new.model_copy(update={"scheduler": cluster.scheduler_address}))
    assert many.tensors().keys() == alone.tensors().keys()
    for name in ("adapters.safetensors", "validation.safetensors"):
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
