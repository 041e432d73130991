"""A sweep that is really killed, anywhere, goes on where it stood and ends as if nothing had happened, to the bit."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from icecore.store import UsageError
from icecore.train import TrainSettings, train
from icecore.train.adapters import get_adapter
from icecore.train.sweep.group import Group

from ..conftest import FAST, MakeStore

FORK = multiprocessing.get_context("fork")
EVERY_BATCH = FAST.model_copy(update={"checkpoint_seconds": 0.0, "epochs": 4, "layers": "0,1"})
MANY = EVERY_BATCH.model_copy(
    update={"lr": (1e-3, 3e-3, 1e38), "dropout": (0.2,), "options": {"inca": {"epochs": [2, 4]}}}
)


def _train(url: str, out: str, settings: TrainSettings) -> None:
    torch.set_num_threads(1)  # the parent's thread pool does not survive a fork
    train(url, out, settings)


def run(url: str, out: Path, settings: TrainSettings, seconds: float | None = None) -> int | None:
    """Train in a process of its own, and kill it after some seconds."""
    process = FORK.Process(target=_train, args=(url, str(out), settings))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


def content(out: Path) -> tuple[bytes, bytes, list[dict[str, str]]]:
    rows = pq.read_table(out / "results.parquet").drop(["seconds"]).to_pylist()
    named = [{str(key): repr(value) for key, value in row.items()} for row in rows]  # a nan equals no nan
    return (out / "adapters.safetensors").read_bytes(), (out / "validation.safetensors").read_bytes(), named


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("asked", "num_rows"),
    [
        ({}, 131),
        ({"halving": True}, 131),
        ({"folds": 2, "layers": "1"}, 131),
        ({"folds": 2, "halving": True}, 131),
        ({"memory": "700kB"}, 2500),
    ],
)
def test_killed_at_random_times_ends_the_same(
    make_store: MakeStore, tmp_path: Path, asked: dict[str, object], num_rows: int
) -> None:
    url = make_store(num_rows, planted=1)
    settings = MANY.model_copy(update=asked)
    begin = time.monotonic()
    assert run(url, tmp_path / "whole", settings) == 0
    usual_seconds = time.monotonic() - begin
    chance, killed = random.Random(0), 0
    for _ in range(12):
        code = run(url, tmp_path / "killed", settings, chance.uniform(0.1, 0.5) * usual_seconds)
        if code == 0:
            break
        killed += 1
        assert code == -9
    assert killed >= 1  # how many there are is the machine's choice
    assert run(url, tmp_path / "killed", settings) == 0
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert not list((tmp_path / "killed" / "ledger").glob("part-*"))


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 3, 6, 11])
def test_stopped_after_any_batch_goes_on_from_there(make_store: MakeStore, tmp_path: Path, after: int) -> None:
    url = make_store(planted=1)
    train(url, str(tmp_path / "whole"), EVERY_BATCH)
    steps: list[int] = []
    original = Group._step

    def counted(self: Group, *others: object) -> object:
        if len(steps) == after:
            raise StopHereError
        steps.append(1)
        return original(self, *others)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Group, "_step", counted)
        with pytest.raises(StopHereError):
            train(url, str(tmp_path / "r"), EVERY_BATCH.model_copy(update={"layers": "0"}))
    with pytest.MonkeyPatch.context() as patch:
        after = 10**9
        patch.setattr(Group, "_step", counted)
        train(url, str(tmp_path / "r"), EVERY_BATCH)
    assert len(steps) == 2 * 4 * 3  # two layers, four epochs of three batches: none twice
    assert content(tmp_path / "r") == content(tmp_path / "whole")


def dying(owner: type, name: str, calls: int) -> Callable[[], None]:
    """Return what makes a process kill itself, without any farewell, at the end of the n-th call of a method."""

    def prepare() -> None:
        original, counted = getattr(owner, name), []

        def last(*given: object) -> object:
            found = original(*given)
            counted.append(1)
            if len(counted) == calls:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        setattr(owner, name, last)

    return prepare


def _train_until(url: str, out: str, settings: TrainSettings, prepare: Callable[[], None]) -> None:
    prepare()  # of the child alone
    _train(url, out, settings)


def killed_and_resumed(url: str, out: Path, settings: TrainSettings, death: Callable[[], None]) -> Path:
    process = FORK.Process(target=_train_until, args=(url, str(out), settings, death))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert run(url, out, settings) == 0
    return out


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "method", "calls"),
    [
        ("vqt", "enter", 1),  # queries are being frozen
        ("vqt", "enter", 4),  # of two adapters both have chosen their dimensions; what they learn next is lost
        ("vqt", "penalty", 8),
        ("head2toe", "enter", 1),
        ("head2toe", "penalty", 10),
    ],
)
def test_killed_between_phases_ends_the_same(
    make_store: MakeStore, tmp_path: Path, name: str, method: str, calls: int
) -> None:
    url = make_store(planted=1)
    phased = {"adapters": (name,), "layers": "all", "epochs": 6, "lr": (1e-2, 3e-2), "heads": None}
    settings = EVERY_BATCH.model_copy(update={**phased, "options": {name: {"keep": [0.4], "lasso": [0.1]}}})
    assert run(url, tmp_path / "whole", settings) == 0
    out = killed_and_resumed(url, tmp_path / "killed", settings, dying(get_adapter(name), method, calls))
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("calls", [1, 4, 5])
def test_an_extension_that_is_killed_ends_the_same(make_store: MakeStore, tmp_path: Path, calls: int) -> None:
    first = make_store(labels=[row % 2 for row in range(131)], classes=("ant", "bee"), planted=1, name="a.ice")
    second, base = make_store(planted=1), str(tmp_path / "base")
    settings = EVERY_BATCH.model_copy(update={"adapters": ("open_inca",), "layers": "1", "batch_size": 8})
    assert run(first, tmp_path / "base", settings) == 0
    new = settings.model_copy(update={"extend": base, "classes": "new", "lr": (1e-2, 3e-2), "epochs": 2})
    assert run(second, tmp_path / "whole", new) == 0
    steps: list[int] = []
    original = Group._step

    def counted(self: Group, *others: object) -> object:
        steps.append(1)
        return original(self, *others)  # type: ignore[arg-type]

    process_out = tmp_path / "killed"
    process = FORK.Process(target=_train_until, args=(second, str(process_out), new, dying(Group, "_step", calls)))
    process.start()
    process.join()
    assert process.exitcode == -9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Group, "_step", counted)
        train(second, str(process_out), new)
    assert len(steps) == 2 * 4 - (calls - 1)  # two epochs of four batches: the one that was lost, and those to come
    assert content(process_out) == content(tmp_path / "whole")


def test_a_larger_grid_trains_only_what_is_new(make_store: MakeStore, tmp_path: Path) -> None:
    url, out = make_store(planted=1), str(tmp_path / "r")
    small = FAST.model_copy(update={"epochs": 2, "layers": "0,1"})
    before = train(url, out, small).candidates
    trained: list[str] = []
    original = Group.__init__

    def noted(self: Group, candidates: list, **others: Any) -> None:
        trained.extend(candidate.adapter_id for candidate in candidates)
        original(self, candidates, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Group, "__init__", noted)
        larger = train(url, out, small.model_copy(update={"lr": (1e-2, 1e-3)})).candidates
        assert set(trained) == larger.keys() - before.keys()
        assert before.keys() < larger.keys()
        trained.clear()
        again = train(url, out, small).candidates
        assert not trained
        assert again.keys() == before.keys()  # a run holds what was asked for last
        train(url, out, small.model_copy(update={"shuffle_seed": 1}))
        assert len(trained) == len(before)  # other conditions: other results


def test_a_damaged_ledger_costs_time_and_nothing_else(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    train(url, str(tmp_path / "r"), EVERY_BATCH)
    expected = content(tmp_path / "r")
    for path in (tmp_path / "r" / "ledger").glob("done-*"):
        path.write_bytes(path.read_bytes()[:-100])
    train(url, str(tmp_path / "r"), EVERY_BATCH)
    assert content(tmp_path / "r") == expected


def test_an_interrupted_run_of_another_store_is_refused(make_store: MakeStore, tmp_path: Path) -> None:
    url, out = make_store(), tmp_path / "r"
    train(url, str(out), EVERY_BATCH)
    for path in out.iterdir():
        if path.name != "ledger":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    other = make_store(labels=[(row + 1) % 3 for row in range(131)], name="other.ice")
    with pytest.raises(
        UsageError, match=r"holds a run from another store, .*s.ice; choose another --out .* rows: some of its"
    ):
        train(other, str(out), EVERY_BATCH)
