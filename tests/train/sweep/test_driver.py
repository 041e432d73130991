"""The process that drives a sweep settles what is trained and in which type, once; its workers are told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from distributed import Client, LocalCluster

from icecore.store import IcecoreError
from icecore.train import train
from icecore.train.sweep import distributed, preparation
from icecore.train.sweep import grid as sweep

from ..conftest import FAST, MakeStore

ONCE = FAST.model_copy(
    update={"adapters": ("linear",), "pooling": ("cls",), "heads": None, "epochs": 1, "compute_dtype": "auto"}
)


class Machine:
    """Settles `auto` as its CPU would; counts how often it was asked."""

    def __init__(self, *dtypes: torch.dtype) -> None:
        self._dtypes, self.num_asked = list(dtypes), 0

    def __call__(self, name: str, device: torch.device) -> torch.dtype:
        if name != "auto":
            return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
        self.num_asked += 1
        return self._dtypes[min(self.num_asked, len(self._dtypes)) - 1]


@pytest.fixture
def address() -> Iterator[str]:
    """Start a cluster whose only worker is a thread of this process."""
    with (
        LocalCluster(n_workers=1, processes=False, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local),
    ):  # pyright: ignore
        yield local.scheduler_address  # pyright: ignore


def test_workers_settle_nothing(
    make_store: MakeStore, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose CPU would choose another type does what it is told, and scores no layer again."""
    scored: list[int] = []
    original = sweep.top_layers

    def counted(*of: object) -> tuple[int, ...]:
        scored.append(1)
        return original(*of)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(sweep, "top_layers", counted)
    monkeypatch.setattr(preparation, "resolve_compute_dtype", Machine(torch.bfloat16, torch.float32))
    asked = ONCE.model_copy(update={"layers": "top:2", "scheduler": address})
    run = train(make_store(planted=1), str(tmp_path / "r"), asked)
    assert len(run.candidates) == 2
    assert run.facts["cost"]["compute_dtype"] == "bfloat16"
    assert run.facts["settings"]["compute_dtype"] == "auto"  # as it was asked for
    assert len(scored) == 1


def test_a_worker_that_sees_another_store_trains_nothing(
    make_store: MakeStore, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, splits = preparation._splits, list[int]()

    def other_rows(*of: object) -> object:
        splits.append(1)
        split = original(*of)[0]  # pyright: ignore[reportArgumentType]
        return [split if len(splits) == 1 else type(split)(split.train[1:], split.validation, split.how)]

    monkeypatch.setattr(preparation, "_splits", other_rows)
    with pytest.raises(IcecoreError, match=r"s.ice: differs between the worker .* \(num_train_rows, .*\); give"):
        train(make_store(), str(tmp_path / "r"), ONCE.model_copy(update={"scheduler": address}))
    assert not (tmp_path / "r" / "run.json").exists()


def test_an_adapter_without_an_outcome_is_an_error(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "train_on_workers", lambda *_: None)  # as if they wrote to a folder of their own
    with pytest.raises(IcecoreError, match=r"r: 3 of 3 adapters were trained and are not in its ledger \(the first is"):
        train(make_store(), str(tmp_path / "r"), ONCE.model_copy(update={"workers": 1}))
    assert not (tmp_path / "r" / "run.json").exists()


def test_a_sweep_goes_on_in_the_type_that_it_was_begun_in(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, out = make_store(), str(tmp_path / "r")
    monkeypatch.setattr(preparation, "resolve_compute_dtype", Machine(torch.bfloat16))
    before = train(url, out, ONCE.model_copy(update={"layers": "0"})).tensors()
    monkeypatch.setattr(preparation, "resolve_compute_dtype", Machine(torch.float32))  # on another computer
    more = train(url, out, ONCE.model_copy(update={"layers": "0,1"}))
    assert more.facts["cost"]["compute_dtype"] == "bfloat16"
    for key, tensors in before.items():
        assert all(torch.equal(tensor, more.tensors()[key][name]) for name, tensor in tensors.items())
    anew = train(url, out, ONCE.model_copy(update={"compute_dtype": "float32", "layers": "0"}))
    assert anew.facts["cost"]["compute_dtype"] == "float32"  # who asks for one gets it
