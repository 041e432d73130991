"""The choice: it finds what was planted, prefers nothing where nothing was, and never looks at test before."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from icecore.store import IcecoreError, IdentityError, LayerReader, UsageError, open_store
from icecore.train import SelectSettings, load_bundle, open_run, select, train
from icecore.train.selection.selectors import SELECTORS
from icecore.train.selection.test_split import TestSplit
from icecore.train.splits.resample import interval
from icecore.train.targets import get_target

from ..conftest import FAST, LAYERS, MakeStore, predictions_of

SETTINGS = SelectSettings(selector="best", num_resamples=200, device="cpu")


@pytest.mark.parametrize("layer", LAYERS)
def test_a_planted_label_is_found_in_its_layer(make_store: MakeStore, tmp_path: Path, layer: int) -> None:
    train(make_store(planted=layer), str(tmp_path / "r"), FAST.model_copy(update={"epochs": 20}))
    selection = select(str(tmp_path / "r"), SETTINGS)
    assert [one.layer for one in selection.selected] == [layer]
    assert selection.test is not None
    assert selection.test.score > 0.9
    others = [row.test_score or 0 for row in selection.table if row.layer != layer]
    assert max(others) < 0.7


def test_where_nothing_is_planted_no_layer_is_better_than_chance(make_store: MakeStore, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, 400).tolist()
    train(make_store(400, labels=labels), str(tmp_path / "r"), FAST)
    selection = select(str(tmp_path / "r"), SETTINGS)
    assert selection.test is not None
    deviation = (1 / 3 * 2 / 3 / selection.test.num_rows) ** 0.5
    for row in selection.table:
        assert abs((row.test_score or 0) - 1 / 3) < 4 * deviation, row


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every row whose tokens anybody read, in order."""
    seen: list[int] = []
    original = LayerReader.read_into

    def spy(self: LayerReader, into: dict[str, np.ndarray], places: np.ndarray, rows: np.ndarray, *view: int) -> None:
        seen.extend(np.asarray(rows).tolist())
        original(self, into, places, rows, *view)

    monkeypatch.setattr(LayerReader, "read_into", spy)
    return seen


def test_the_test_split_is_read_once_and_after_the_choice(
    make_store: MakeStore, tmp_path: Path, rows_read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_store(planted=1)
    test = set(open_store(url).rows("test").tolist())
    train(url, str(tmp_path / "r"), FAST)
    assert rows_read
    assert not test & set(rows_read)

    rows_read.clear()
    best = SELECTORS["best"]

    def watched(kept, draws, settings):
        assert not rows_read
        assert not test & set(kept.rows.tolist())
        return best(kept, draws, settings)

    monkeypatch.setitem(SELECTORS, "best", watched)
    selection = select(str(tmp_path / "r"), SETTINGS)
    assert selection.num_test_reads == 1
    assert sorted(rows_read) == sorted([*test] * len(LAYERS))  # each layer once, for every family's best together


def test_a_run_counts_every_reading_of_the_test_split(make_store: MakeStore, tmp_path: Path) -> None:
    train(make_store(), str(tmp_path / "r"), FAST.model_copy(update={"layers": "0", "epochs": 2}))
    assert [select(str(tmp_path / "r"), SETTINGS).num_test_reads for _ in range(3)] == [1, 2, 3]
    train(make_store(), str(tmp_path / "r"), FAST.model_copy(update={"layers": "0,1", "epochs": 2}))
    assert select(str(tmp_path / "r"), SETTINGS).num_test_reads == 4  # training more does not make it unread


def test_the_test_split_opens_once(make_store: MakeStore) -> None:
    sealed = TestSplit(open_store(make_store()), get_target("class"))
    sealed.predict_once([], {}, torch.device("cpu"))
    with pytest.raises(IcecoreError, match="the test split was read already"):
        sealed.predict_once([], {}, torch.device("cpu"))


def test_a_bundle_says_what_the_run_said(make_store: MakeStore, tmp_path: Path) -> None:
    url, run = make_store(planted=2), tmp_path / "r"
    train(url, str(run), FAST)
    selection = select(str(run), SETTINGS)
    bundle, store = load_bundle(str(run / "bundle")), open_store(url)
    assert bundle.layers == tuple(one.layer for one in selection.selected)
    assert bundle.classes == store.classes
    assert bundle.backbone == {"name": "tiny", "weights_sha256": "w", "compute_dtype": "float32", "checkpoint": None}
    said = pq.read_table(run / "test.parquet")
    found = bundle.predict({k: store.layer(k).rows(said["row"].to_numpy()) for k in bundle.layers})
    assert found.argmax(1).tolist() == said["prediction"].to_pylist()
    torch.testing.assert_close(found.max(1).values, torch.tensor(said["probability"].to_pylist()), atol=1e-5, rtol=0)
    right = np.mean(said["prediction"].to_numpy() == said["label"].to_numpy())
    assert selection.test is not None
    assert selection.test.score == pytest.approx(right)
    assert selection.test.low <= right <= selection.test.high
    assert json.loads((run / "selection.json").read_text())["selected"][0]["layer"] == selection.selected[0].layer
    assert "top1" in (run / "bundle" / "README.md").read_text()


@pytest.mark.parametrize("selector", sorted(set(SELECTORS) - {"best"}))
def test_an_ensemble_is_told_whole(make_store: MakeStore, tmp_path: Path, selector: str) -> None:
    url, run = make_store(groups=[f"g{row // 2}" for row in range(131)]), tmp_path / "r"
    train(url, str(run), FAST.model_copy(update={"epochs": 4}))
    selection = select(str(run), SETTINGS.model_copy(update={"selector": selector, "max_layer": 1}))
    bundle, store = load_bundle(str(run / "bundle")), open_store(url)
    assert max(one.layer for one in selection.selected) <= selection.cost.deepest_layer <= 1
    assert sum(one.weight for one in selection.selected) == pytest.approx(1)
    said = pq.read_table(run / "test.parquet")
    found = bundle.predict({k: store.layer(k).rows(said["row"].to_numpy()) for k in bundle.layers})
    torch.testing.assert_close(found.max(1).values, torch.tensor(said["probability"].to_pylist()), atol=1e-5, rtol=0)
    assert selection.num_eligible == selection.num_candidates * 2 // 3
    assert selection.honest is not None
    assert selection.test is not None
    assert selection.honest.optimism == pytest.approx(selection.validation.score - selection.honest.score)
    assert selection.test_optimism == pytest.approx(selection.validation.score - selection.test.score)
    assert selection.validation.num_groups is not None
    assert selection.cost.share is not None
    assert selection.winner in selection.table
    assert "that it did not see" in (run / "bundle" / "README.md").read_text()


def test_ties_go_to_the_lower_loss(make_store: MakeStore, tmp_path: Path) -> None:
    train(make_store(planted=1), str(tmp_path / "r"), FAST.model_copy(update={"layers": "1", "epochs": 20}))
    kept = open_run(str(tmp_path / "r")).validation_predictions()
    (weights,) = SELECTORS["best"](kept, [kept.every_row], SETTINGS)
    chosen = kept.candidates[int(weights.argmax())].adapter_id
    predictions = predictions_of(kept)
    right = (predictions.argmax(-1) == kept.labels).double().mean(1)
    nll = -predictions[:, torch.arange(len(kept.labels)), kept.labels].clamp_min(1e-12).log().mean(1)
    tied = [index for index in range(len(nll)) if right[index] == right.max()]
    assert kept.candidates[min(tied, key=lambda index: float(nll[index]))].adapter_id == chosen


def test_a_store_without_test_rows_is_selected_from_all_the_same(make_store: MakeStore, tmp_path: Path) -> None:
    train(make_store(60, splits=["train"] * 60, planted=1), str(tmp_path / "r"), FAST)
    selection = select(str(tmp_path / "r"), SETTINGS)
    assert selection.test is None
    assert all(row.test_score is None for row in selection.table)


def test_a_store_that_changed_under_a_run_is_refused(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store()
    train(url, str(tmp_path / "r"), FAST.model_copy(update={"layers": "0"}))
    shutil.rmtree(url)
    make_store(labels=[(row + 1) % 3 for row in range(131)])
    with pytest.raises(IdentityError, match="was trained from another store"):
        select(str(tmp_path / "r"), SETTINGS)


def test_wrong_names_are_said(make_store: MakeStore, tmp_path: Path) -> None:
    train(make_store(), str(tmp_path / "r"), FAST.model_copy(update={"layers": "0"}))
    with pytest.raises(UsageError, match=r"unknown selector 'bets' \(did you mean 'best'\?\)"):
        select(str(tmp_path / "r"), SETTINGS.model_copy(update={"selector": "bets"}))
    with pytest.raises(UsageError, match=r"is not a bundle, it has no bundle.json"):
        load_bundle(str(tmp_path / "r"))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for trial in range(100):
        values = (torch.rand(200, generator=generator) < 0.7).double()
        low, high = interval(lambda rows, values=values: float(values[rows].mean()), torch.arange(200), 0.9, 300, trial)
        hits += low <= 0.7 <= high
    assert 80 <= hits <= 98
