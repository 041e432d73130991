"""With folds, each row is judged by adapters that have not seen it, and what is kept has learnt from all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icecore.store import IcecoreError, UsageError, open_store
from icecore.train import Progress, Run, SelectSettings, select, train
from icecore.train.runs.candidate import Candidate, Recipe
from icecore.train.runs.ledger import Outcome
from icecore.train.runs.out_of_fold import out_of_fold
from icecore.train.runs.result import STATUS_OK, EpochResult
from icecore.train.splits.cross_validation import cross_validation_splits
from icecore.train.sweep.group import Group

from ..conftest import FAST, MakeStore, predictions_of

FOLDED = FAST.model_copy(update={"folds": 3, "epochs": 3, "layers": "0,1"})


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 7), st.integers(0, 9), st.booleans())
def test_each_row_is_held_out_once_by_class_and_never_across_a_group(
    make_store: MakeStore, tmp_path: Path, count: int, seed: int, grouped: bool
) -> None:
    groups = [f"track {row // 4}" for row in range(131)] if grouped else None
    labels = [(row // 4) % 3 for row in range(131)]
    name = f"{grouped}.ice"
    store = open_store(
        str(tmp_path / name) if (tmp_path / name).exists() else make_store(131, labels=labels, groups=groups, name=name)
    )
    *parts, whole = cross_validation_splits(store, count, seed)
    train = store.rows("train").tolist()
    assert len(parts) == count
    assert sorted(row for part in parts for row in part.validation) == train == whole.train.tolist()
    assert not len(whole.validation)
    for part in parts:
        assert sorted([*part.train, *part.validation]) == train
        assert set(store.labels[part.train]) == {0, 1, 2}
        if groups is not None:
            assert not {groups[row] for row in part.train} & {groups[row] for row in part.validation}
    counts = np.array([np.bincount(store.labels[part.validation], minlength=3) for part in parts])
    assert (np.ptp(counts, axis=0) <= (8 if grouped else 1)).all()


def test_who_alone_shows_a_class_always_trains(make_store: MakeStore) -> None:
    labels = [2, 2] + [row % 2 for row in range(129)]
    groups = ["a", "a", "a"] + [f"track {row // 2}" for row in range(128)]
    alone = open_store(make_store(131, labels=[2] + [row % 2 for row in range(130)]))
    assert all(0 in part.train for part in cross_validation_splits(alone, 4, 0))
    together = open_store(make_store(131, labels=labels, groups=groups, name="g.ice"))
    assert all(
        {0, 1, 2} <= set(part.train) for part in cross_validation_splits(together, 4, 0)
    )  # row 2 is of their group


@pytest.mark.parametrize(
    ("labels", "splits", "message", "error"),
    [
        (
            [0, 1, 0, 1],
            ["train", "train", "train", "validation"],
            r"split named 'validation'.*leave out --folds",
            UsageError,
        ),
        (
            [0, 1, 0, 1],
            ["train"] * 4,
            r"4 train rows, 2 in the largest class, leave some of 3 folds empty; ask",
            UsageError,
        ),
        (
            [0, 0, 0, 1],
            ["train", "train", "train", "test"],
            r"'bee' has 1 rows in the split 'test' and 0 in",
            IcecoreError,
        ),
        ([None] * 4, ["train"] * 4, r"none of 4 train rows has a label", IcecoreError),
    ],
)
def test_what_cannot_be_folded_is_said(
    make_store: MakeStore, labels: Sequence[int | None], splits: Sequence[str], message: str, error: type[Exception]
) -> None:
    store = open_store(make_store(4, labels=labels, splits=splits))
    with pytest.raises(error, match=message):
        cross_validation_splits(store, 3, seed=0)


def _predictions(run: Run) -> dict[tuple[str, int], list[float]]:
    kept = run.validation_predictions()
    tables = zip(kept.candidates, predictions_of(kept).tolist(), strict=True)
    rows = kept.rows.tolist()
    return {(one.adapter_id, row): said for one, table in tables for row, said in zip(rows, table, strict=True)}


def test_every_prediction_is_of_a_training_without_its_row(make_store: MakeStore, tmp_path: Path) -> None:
    store = open_store(make_store(planted=1))
    asked = FOLDED.model_copy(update={"adapters": ("linear", "inca", "ridge"), "lr": (1e-2, 3e-3), "heads": None})
    found = _predictions(train(store.url, str(tmp_path / "r"), asked))
    parts = cross_validation_splits(store, 3, asked.shuffle_seed)[:-1]
    apart: dict[tuple[str, int], list[float]] = {}
    for number, part in enumerate(parts):
        splits = [
            "train" if row in set(part.train) else "validation" if row in set(part.validation) else "test"
            for row in range(131)
        ]
        alone = make_store(planted=1, splits=splits, name=f"{number}.ice")
        apart |= _predictions(train(alone, str(tmp_path / f"{number}"), asked.model_copy(update={"folds": None})))
    assert {row for _, row in found} == set(store.rows("train").tolist())
    assert found == apart


def test_what_is_kept_has_learnt_from_all_rows(make_store: MakeStore, tmp_path: Path) -> None:
    splits = ["validation" if row % 5 == 4 else "train" for row in range(131)]
    folded = train(make_store(planted=1), str(tmp_path / "r"), FOLDED)
    unfolded = FOLDED.model_copy(update={"folds": None})
    whole = train(make_store(planted=1, splits=splits, name="w.ice"), str(tmp_path / "w"), unfolded)
    assert folded.facts["validation"]["num_train_rows"] == folded.facts["validation"]["num_rows"] == 105
    assert folded.facts["validation"]["how"] == "3 folds of train, stratified, seed 0"
    assert (tmp_path / "r/adapters.safetensors").read_bytes() == (tmp_path / "w/adapters.safetensors").read_bytes()
    assert folded.results["train_loss"].to_pylist() == whole.results["train_loss"].to_pylist()


def test_score_and_loss_are_means_over_the_rows(make_store: MakeStore, tmp_path: Path) -> None:
    run = train(make_store(planted=1), str(tmp_path / "r"), FOLDED)
    kept, last = run.validation_predictions(), {row["adapter_id"]: row for row in run.results.to_pylist()}
    for candidate, table in zip(kept.candidates, predictions_of(kept), strict=True):
        scores, row = kept.target.score(table, kept.labels), last[candidate.adapter_id]
        assert row["epoch"] == FOLDED.epochs
        assert row["validation_score"] == pytest.approx(scores.score)
        assert row["validation_loss"] == pytest.approx(scores.loss, rel=1e-5)


def test_a_choice_from_folds_is_measured_on_test(make_store: MakeStore, tmp_path: Path) -> None:
    train(make_store(planted=1), str(tmp_path / "r"), FOLDED.model_copy(update={"epochs": 20}))
    selection = select(str(tmp_path / "r"), SelectSettings(num_resamples=200, device="cpu"))
    assert selection.validation.num_rows == 105
    assert {one.layer for one in selection.selected} == {1}
    assert selection.test is not None
    assert selection.test.score > 0.9


def test_who_a_rung_stops_in_the_first_fold_is_trained_nowhere_else(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, grid = make_store(planted=1), {"adapters": ("inca",), "lr": (1e-2, 3e-3, 1e-3, 1e-4), "epochs": 4}
    asked, heard = FOLDED.model_copy(update=grid), list[Progress]()
    sizes: list[int] = []
    original = Group.__init__

    def noted(self: Group, candidates: list, **others: Any) -> None:
        sizes.append(len(candidates))
        original(self, candidates, **others)

    monkeypatch.setattr(Group, "__init__", noted)
    halved = train(url, str(tmp_path / "h"), asked.model_copy(update={"halving": True}), heard.append)
    assert sizes == [4, 4] + [1, 1] * 3  # two layers: all on the first fold, then the best on two more and on all rows
    assert heard[-1].done == heard[-1].total == len(halved.results) + 2 * 4 * 3
    assert halved.facts["cost"]["num_stopped"] == 6
    whole = train(url, str(tmp_path / "w"), asked)
    assert len(halved.candidates) == 2
    for key, tensors in halved.tensors().items():
        assert all(torch.equal(tensors[name], other) for name, other in whole.tensors()[key].items())
    kept, others = _predictions(halved), _predictions(whole)
    assert kept == {key: others[key] for key in kept}


@pytest.mark.parametrize("target", ["multilabel", "regression"])
def test_every_target_and_every_kind_of_family_has_folds(make_store: MakeStore, tmp_path: Path, target: str) -> None:
    numbers = np.random.default_rng(0).random((131, 3))
    targets = [tuple(row) for row in (numbers > 0.4 if target == "multilabel" else numbers).astype(float).tolist()]
    families = ("linear", "ridge", "synqt", "losa", "vqt", "head2toe")
    asked = FOLDED.model_copy(update={"adapters": families, "heads": None, "layers": "all"})
    run = train(make_store(planted=1, targets=targets, target=target), str(tmp_path / "r"), asked)
    assert {candidate.adapter for candidate in run.candidates.values()} == set(families)
    assert run.validation_predictions().rows.tolist() == open_store(run.facts["store"]).rows("train").tolist()


def test_an_extension_has_no_folds(make_store: MakeStore, tmp_path: Path) -> None:
    asked = FOLDED.model_copy(update={"extend": "r", "classes": "new"})
    with pytest.raises(UsageError, match=r"--folds and --extend: .*; leave out --folds"):
        train(make_store(), str(tmp_path / "r"), asked)
    assert not (tmp_path / "r").exists()


def _outcome(candidate: Candidate, statuses: Sequence[str], num_rows: int) -> Outcome:
    results = [EpochResult(candidate, n, 1.0, 0.5, 2.0, 0.1, 7, status) for n, status in enumerate(statuses, 1)]
    well = statuses[-1] == STATUS_OK and len(statuses) == candidate.recipe.epochs
    predictions = {candidate.adapter_id: torch.ones(num_rows, 2)} if well and num_rows else {}
    return Outcome(results, {candidate.adapter_id: {"a": torch.ones(1)}} if well else {}, predictions, 1.0, 2.0)


@pytest.mark.parametrize("where", [0, 1, 2])
def test_who_goes_wrong_anywhere_is_no_candidate(where: int) -> None:
    recipe = Recipe(lr=1.0, weight_decay=0.0, epochs=3, batch_size=8)
    one = Candidate(adapter="linear", layers=(0,), config={}, recipe=recipe)
    diverged = [STATUS_OK, "diverged in epoch 2: train loss is nan"]
    outcomes = [
        _outcome(one, diverged if number == where else [STATUS_OK] * 3, rows) for number, rows in enumerate((2, 2, 0))
    ]
    held = [np.array([0, 3]), np.array([1, 2])]
    joined = out_of_fold([[outcomes[0]], [outcomes[1]]], held, [outcomes[2]])
    assert not joined.trained
    assert not joined.predictions
    name = "all rows" if where == 2 else f"fold {where + 1}"
    assert [result.status for result in joined.results] == [STATUS_OK, f"{diverged[1]} ({name})"]
    assert joined.training_seconds == 6.0
