"""The theorems of a sweep: together equals alone, whatever the company, the order or the endings."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from icecore.store import IcecoreError, IncompleteError, LayerReader, UsageError
from icecore.train import Progress, Run, TrainSettings, open_run, train
from icecore.train.sweep.group import Group
from icecore.train.targets.one_class import OneClass
from icecore.train.targets.target import LossWeights

from ..conftest import FAST, MakeStore, predictions_of

EIGHT = {"lr": (1e-3, 3e-3, 1e-2, 2e-2), "weight_decay": (0.0, 0.3), "adapters": ("inca",), "layers": "1"}


def trained(url: str, out: Path, **changes: object) -> tuple[Run, dict[str, dict[str, Tensor]]]:
    run = train(url, str(out), FAST.model_copy(update=changes))
    return run, run.tensors()


def assert_same(mine: dict[str, Tensor], reference: dict[str, Tensor]) -> None:
    for name in reference:
        torch.testing.assert_close(mine[name], reference[name], rtol=1e-4, atol=2e-5)


def test_eight_together_equal_eight_alone(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    _, together = trained(url, tmp_path / "all", **EIGHT)
    assert len(together) == 8
    for place, (lr, weight_decay) in enumerate([(1e-3, 0.0), (1e-2, 0.3), (2e-2, 0.3)]):
        alone = EIGHT | {"lr": (lr,), "weight_decay": (weight_decay,)}
        _, one = trained(url, tmp_path / str(place), **alone)
        ((adapter_id, tensors),) = one.items()
        assert_same(together[adapter_id], tensors)


def test_neither_company_nor_order_changes_a_result(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    _, plain = trained(url, tmp_path / "a", **EIGHT)
    backwards = EIGHT | {"lr": EIGHT["lr"][::-1], "adapters": ("linear", "inca"), "layers": "0-2", "queries": (3, 1)}
    options = {"inca": {"epochs": [5, 8]}}  # some leave the stack in the middle
    _, company = trained(url, tmp_path / "b", **backwards, options=options)
    assert plain.keys() <= company.keys()
    for adapter_id, tensors in plain.items():
        assert_same(company[adapter_id], tensors)


def test_no_mask_weight_or_smoothing_depends_on_company(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    axes = {"label_smoothing": (0.0, 0.1), "dropout": (0.0, 0.3), "class_weights": ("none", "balanced")}
    shared = EIGHT | {"lr": (1e-3,), "weight_decay": (0.01,), "adapters": ("inca", "linear")}
    _, together = trained(url, tmp_path / "all", **shared, **axes)
    assert len(together) == 8 * 3
    alone = {"label_smoothing": (0.1,), "dropout": (0.3,), "class_weights": ("balanced",)}
    _, some = trained(url, tmp_path / "some", **shared, **alone)
    assert len(some) == 3
    for adapter_id, tensors in some.items():
        assert_same(together[adapter_id], tensors)


def test_who_diverges_ends_alone(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    calm = EIGHT | {"lr": (1e-3,)}
    _, reference = trained(url, tmp_path / "a", **calm)
    run, tensors = trained(url, tmp_path / "b", **(calm | {"lr": (1e-3, 1e38)}))
    assert tensors.keys() == reference.keys() == run.candidates.keys()
    for adapter_id in reference:
        assert_same(tensors[adapter_id], reference[adapter_id])
    ended = [row for row in run.results.to_pylist() if row["status"] != "ok"]
    assert len(ended) == 2
    assert all(row["status"].startswith(f"diverged in epoch {row['epoch']}: ") for row in ended)
    assert all(math.isnan(row["validation_score"]) for row in ended)
    assert run.facts["cost"]["num_diverged"] == 2


def test_bfloat16_learns_what_float32_learns(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    for place, dtype in enumerate(("float32", "bfloat16")):
        run, _ = trained(url, tmp_path / str(place), layers="1", compute_dtype=dtype, epochs=16)
        assert run.results["validation_score"].to_pylist()[-1] > 0.9


def test_the_memory_changes_no_result(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(2500, planted=1)
    fast = {"layers": "1", "epochs": 3, "batch_size": 48}
    (_, ready), *others = (
        trained(url, tmp_path / memory, memory=memory, **fast) for memory in ("4GB", "950kB", "650kB")
    )
    for adapter_id, tensors in ready.items():
        for _, other in others:
            assert_same(other[adapter_id], tensors)


@pytest.mark.parametrize(("memory", "num_views"), [("4GB", 1), ("700kB", 2)])
def test_no_batch_is_a_remainder(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str, num_views: int
) -> None:
    url, sizes = make_store(2500, num_views=num_views), list[int]()
    measured = OneClass.losses

    def losses(self: OneClass, outputs: Tensor, labels: Tensor, loss_weights: LossWeights) -> Tensor:
        sizes.append(len(labels))
        return measured(self, outputs, labels, loss_weights)

    monkeypatch.setattr(OneClass, "losses", losses)
    plain = {"adapters": ("inca",), "layers": "1", "epochs": 2, "memory": memory}
    run, _ = trained(url, tmp_path / "r", **plain, batch_size=41)
    num_rows = run.facts["validation"]["num_train_rows"]
    assert num_rows % 41 == 1
    assert sum(sizes) == 2 * num_rows
    assert set(sizes) == {41, 42}


def test_views_are_trained_on_and_only_the_first_is_measured(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_store(planted=1, num_views=2)
    read: list[tuple[int, int]] = []
    original = LayerReader.read_into

    def spy(
        self: LayerReader, into: dict[str, np.ndarray], places: np.ndarray, rows: np.ndarray, view: int = 0
    ) -> None:
        read.extend((int(row), view) for row in rows)
        original(self, into, places, rows, view)

    monkeypatch.setattr(LayerReader, "read_into", spy)
    run, _ = trained(url, tmp_path / "r", layers="1", epochs=12)
    kept = set(run.validation_predictions().rows.tolist())
    assert {view for row, view in read if row in kept} == {0}
    assert {view for row, view in read if row not in kept} == {0, 1}
    assert run.results["train_loss"].to_pylist()[-1] < 0.2


def test_adapters_count_and_train_in_parts_that_fit(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight adapters that may not be in memory together come out as if they had been."""
    url, sizes = make_store(planted=1), list[int]()
    _, together = trained(url, tmp_path / "together", **EIGHT)
    original = Group.__init__

    def noted(self: Group, candidates: list, **others: Any) -> None:
        sizes.append(len(candidates))
        original(self, candidates, **others)

    monkeypatch.setattr(Group, "__init__", noted)
    _, parted = trained(url, tmp_path / "parted", memory="300kB", **EIGHT)
    assert sum(sizes) == 8
    assert max(sizes) < 8
    assert parted.keys() == together.keys()
    for adapter_id in together:
        assert_same(parted[adapter_id], together[adapter_id])
    with pytest.raises(UsageError, match=r"memory of 0.3 MB: expected at least .* for the fewest adapters that train"):
        trained(url, tmp_path / "halving", memory="300kB", halving=True, **EIGHT)  # all of a contest at once


def test_too_little_memory_is_said_before_anything_is_read(make_store: MakeStore, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"memory of 0.01 MB: expected at least 0.\d+ MB: 0.\d+ for the pool",
    ):
        trained(make_store(700), tmp_path / "r", memory="10kB")
    assert not (tmp_path / "r").exists()


def test_a_run_says_what_was_done(make_store: MakeStore, tmp_path: Path) -> None:
    heard: list[Progress] = []
    run = train(make_store(), str(tmp_path / "r"), FAST, heard.append)
    rows = run.results.to_pylist()
    assert len(run.candidates) == 9  # 3 layers x (inca, linear on cls, linear on the mean)
    assert len(rows) == 9 * FAST.epochs
    assert heard[-1].done == heard[-1].total == 9 * FAST.epochs
    assert {row["layer"] for row in rows} == {0, 1, 2}
    assert all(row["epoch"] in range(1, 9) and row["num_parameters"] > 0 for row in rows)
    kept = open_run(str(tmp_path / "r")).validation_predictions()
    predictions = predictions_of(kept)
    assert predictions.shape == (9, run.facts["validation"]["num_rows"], 3)
    torch.testing.assert_close(predictions.sum(-1), torch.ones(predictions.shape[:2]), atol=2e-3, rtol=0)


def test_failed_rows_take_no_part(make_store: MakeStore, tmp_path: Path) -> None:
    run, _ = trained(make_store(failed=(0, 1, 2)), tmp_path / "r", layers="0")
    assert run.facts["validation"]["num_rows"] + run.facts["validation"]["num_train_rows"] == 105 - 3


def test_an_unfinished_store_is_refused_with_the_way_on(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(num_shards=1)
    with pytest.raises(IncompleteError, match=r"67 of 131 rows are missing; finish it with: icecore extract folder:x"):
        train(url, str(tmp_path / "r"), FAST)
    assert not (tmp_path / "r").exists()


def test_another_stores_run_is_not_overwritten(make_store: MakeStore, tmp_path: Path) -> None:
    out = tmp_path / "r"
    trained(make_store(), out, layers="0")
    trained(make_store(name="same.ice"), out, layers="1")  # the same identity: a run may be made again
    other = make_store(labels=[(row + 1) % 3 for row in range(131)], name="other.ice")
    with pytest.raises(
        UsageError, match=r"r: holds a run from another store, .*same.ice; .*asked for .*other.ice: rows: some of its"
    ):
        trained(other, out)


def test_a_folder_that_is_no_run_is_not_written_to(make_store: MakeStore, tmp_path: Path) -> None:
    url, mine = make_store(), tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("more work")
    places = {str(mine): "files that icecore did not write", url: "a store", str(tmp_path / "file" / "r"): "is a file"}
    for place, message in {**places, "memory://r": "is a URL, expected the path of a folder"}.items():
        before = sorted(path for path in tmp_path.rglob("*"))
        with pytest.raises(UsageError, match=message):
            train(url, place, FAST)
        assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapters": ("incca",)}, r"unknown adapter 'incca' \(did you mean 'inca'"),
        ({"layers": "0,9"}, r"layers '0,9': there is no layer 9; the store has layers 0, 1, 2"),
        ({"layers": "top"}, r"layers 'top': cannot read 'top'; expected all, sum, top:5"),
        ({"heads": (5,)}, r"adapter 'inca' at layer 0: 5 heads: expected a divisor of the width 16"),
        ({"pooling": ("max",)}, r"option 'pooling' of adapter 'linear': got 'max': expected 'cls'.*; it has"),
        ({"options": {"inca": {"depth": [1]}}}, r"option 'depth' of adapter 'inca': .* it has num_heads, num_queries"),
        ({"options": {"vqt": {}}}, r"options for \['vqt'\]: not among the adapters"),
        ({"memory": "much"}, r"memory 'much': expected a size such as 4GB"),
        ({"device": "abacus"}, r"device 'abacus': cannot be used here"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_read(
    make_store: MakeStore, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    url = make_store()
    with pytest.raises(UsageError, match=message):
        train(url, str(tmp_path / "r"), FAST.model_copy(update=changes))
    assert not (tmp_path / "r").exists()


def test_no_run_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a run, it has no run.json"):
        open_run(str(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(IcecoreError, match=r"has format 99, this icecore reads formats 1 to 2"):
        open_run(str(tmp_path))


def test_a_rate_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="expected one or more finite numbers"):
        TrainSettings(lr=(float("nan"),))
