"""A RUN belongs to what it used of its store: the store may grow, and may not change what was used."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from safetensors.torch import save

from icecore.store import IcecoreError, IdentityError, UsageError, open_store
from icecore.train import Run, SelectSettings, TrainSettings, is_current, open_run, select, train
from icecore.train.runs.candidate import Candidate
from icecore.train.runs.ledger_entry import HEADER, read_entry
from icecore.train.runs.origin import open_run_store
from icecore.train.splits.ranges import from_ranges, to_ranges
from icecore.train.sweep.group import Group

from ..conftest import FAST, MakeStore

ONCE = FAST.model_copy(update={"adapters": ("linear",), "pooling": ("cls",), "epochs": 1, "heads": None})
BEST = SelectSettings(selector="best", num_resamples=100)
ROWS = 128  # whole shards
LABELS = [row % 3 for row in range(ROWS)]
SPLITS = ["test" if row % 5 == 4 else "train" for row in range(ROWS)]
VIEWS = {"num_views": 2, "augmentation": "flip"}
GROWTH: dict[str, dict[str, Any]] = {
    "layers": {"layers": (0, 1, 2)},
    "views": VIEWS,
    "test rows": {"num_rows": 192, "labels": LABELS + [0] * 64, "splits": SPLITS + ["test"] * 64},
    "train rows": {"num_rows": 192, "labels": LABELS + [0] * 64, "splits": SPLITS + ["train"] * 64},
    "another split": {"num_rows": 192, "labels": LABELS + [0] * 64, "splits": SPLITS + ["spare"] * 64},
}


def small(make_store: MakeStore, **changes: Any) -> str:
    """Write a store of two layers, or let it grow."""
    return make_store(**{"num_rows": ROWS, "labels": LABELS, "splits": SPLITS, "layers": (0, 1), **changes})


def trained(monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """Return a list that will hold all that is trained from now on."""
    heard: list[Candidate] = []
    original = Group.__init__

    def noted(self: Group, candidates: list[Candidate], **others: Any) -> None:
        heard.extend(candidates)
        original(self, candidates, **others)

    monkeypatch.setattr(Group, "__init__", noted)
    return heard


@given(some.sets(some.integers(0, 60)))
def test_ranges_say_the_same_rows(rows: set[int]) -> None:
    assert from_ranges(to_ranges(np.array(sorted(rows), int))).tolist() == sorted(rows)


@pytest.mark.parametrize("growth", list(GROWTH))
def test_a_run_outlives_the_growth_of_its_store(
    make_store: MakeStore, tmp_path: Path, growth: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, out = small(make_store), str(tmp_path / "r")
    before = train(url, out, ONCE)
    known = before.candidates
    old = select(out, BEST)
    small(make_store, **GROWTH[growth])
    assert open_store(url).identity.sha256 != before.facts["identity_sha256"]
    new = select(out, BEST)
    assert (new.selected, new.validation) == (old.selected, old.validation)
    assert new.test is not None
    assert old.test is not None
    assert new.test.num_rows - old.test.num_rows == (64 if growth == "test rows" else 0)
    anew = trained(monkeypatch)
    again = train(url, out, ONCE)
    if growth in ("views", "train rows"):  # the sweep sees more: all of it is another
        assert len(anew) == len(known) == len(again.candidates)
        assert again.facts["trained_anew"]
    else:
        assert {one.layers for one in anew} == ({(2,)} if growth == "layers" else set())
        assert known.keys() <= again.candidates.keys()
        assert not again.facts["trained_anew"]
    select(out, BEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [1, *LABELS[1:]]}, "rows: some of its 103 have another key, label, split, group or bytes"),
        ({"splits": ["test", *SPLITS[1:]]}, "rows: some of its 103"),
        ({"num_rows": 64, "labels": LABELS[:64], "splits": SPLITS[:64]}, "rows: 64 in the store, the run read row 127"),
        ({"layers": (0, 2)}, "layers: 1 not in the store"),
        ({"preprocessing": {"size": 9}}, "preprocessing.size: 9 in the store, 8 in the run"),
        ({"weights_sha256": "other"}, "weights_sha256: other in the store, w in the run"),
        ({"dtype": "float16"}, "dtype: float16 in the store, float32 in the run"),
    ],
)
def test_a_store_that_changed_what_was_used_is_another(
    make_store: MakeStore, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    url, out = small(make_store), str(tmp_path / "r")
    train(url, out, ONCE)
    shutil.rmtree(url)
    small(make_store, **change)
    with pytest.raises(IdentityError, match=rf"r: was trained from another store .*{message}"):
        select(out, BEST)
    if "layers" not in change:  # other layers are a larger grid
        with pytest.raises(UsageError, match=rf"holds a run from another store, .*{message}"):
            train(url, out, ONCE)


def test_rows_that_were_not_used_may_change(make_store: MakeStore, tmp_path: Path) -> None:
    url, out = small(make_store), str(tmp_path / "r")
    train(url, out, ONCE)
    shutil.rmtree(url)
    small(make_store, labels=[*LABELS[:4], (LABELS[4] + 1) % 3, *LABELS[5:]])
    assert select(out, BEST).test is not None


def test_a_test_row_of_a_class_that_the_run_never_saw_is_not_passed_over(make_store: MakeStore, tmp_path: Path) -> None:
    url, out = small(make_store), str(tmp_path / "r")
    train(url, out, ONCE)
    classes = ("ant", "bee", "cow", "dog")
    for split in ("spare", "test"):
        name = f"{split}.ice"
        new = small(
            make_store,
            num_rows=192,
            labels=LABELS + [3] * 64,
            splits=SPLITS + [split] * 64,
            classes=classes,
            name=name,
        )
        shutil.rmtree(url)
        shutil.copytree(new, url)
        if split == "spare":
            assert select(out, BEST).test is not None
    with pytest.raises(IcecoreError, match=r"r: does not know dog, classes of test rows that .*s.ice has now"):
        select(out, BEST)


def test_the_kind_of_target_is_part_of_what_was_used(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = [tuple(float(row % 3 == k) for k in range(3)) for row in range(ROWS)]
    url, out = small(make_store, targets=targets, target="multilabel"), str(tmp_path / "r")
    train(url, out, ONCE)
    shutil.rmtree(url)
    small(make_store, targets=targets, target="regression")
    with pytest.raises(UsageError, match="target: regression in the store, multilabel in the run"):
        train(url, out, ONCE)
    with pytest.raises(IdentityError, match="target: regression in the store, multilabel in the run"):
        select(out, BEST)
    for path in (tmp_path / "r").glob("*.*"):  # the ledger alone, as after a kill
        path.unlink()
    as_earlier(tmp_path / "r", open_store(url).identity.sha256)
    anew = trained(monkeypatch)
    run = train(url, out, ONCE)
    assert run.target.score_name == "r2"
    assert {one.adapter_id for one in anew} == run.candidates.keys()


def test_a_run_and_its_store_may_move(make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = small(make_store, name="a/s.ice")
    train(url, str(tmp_path / "a" / "r"), ONCE)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert select(str(tmp_path / "b" / "r"), BEST).test is not None  # both together
    shutil.move(tmp_path / "b" / "s.ice", tmp_path / "far.ice")
    with pytest.raises(IcecoreError, match=r"its store is not at .*s.ice; if it has moved, train from its new place"):
        select(str(tmp_path / "b" / "r"), BEST)
    anew = trained(monkeypatch)
    train(str(tmp_path / "far.ice"), str(tmp_path / "b" / "r"), ONCE)
    assert not anew
    assert select(str(tmp_path / "b" / "r"), BEST).test is not None


@pytest.mark.parametrize("growth", list(GROWTH))
def test_a_run_is_current_while_the_store_has_nothing_new_for_it(
    make_store: MakeStore, tmp_path: Path, growth: str
) -> None:
    url, out = small(make_store), str(tmp_path / "r")
    named = ONCE.model_copy(update={"layers": "0,1"})
    for settings in (named, ONCE):
        train(url, out, settings)
        assert is_current(out, url, settings)
    assert not is_current(out, url, named)
    small(make_store, **GROWTH[growth])
    assert is_current(out, url, ONCE) == (growth in ("test rows", "another split"))
    run = open_run(out)
    (tmp_path / "r" / "run.json").write_text(json.dumps(run.facts | {"settings": named.model_dump(mode="json")}))
    assert is_current(out, url, named) == (growth not in ("views", "train rows"))


def as_earlier(run: Path, identity_sha256: str) -> None:
    """Make of a RUN what an earlier version had written: one that recorded the whole identity, and nothing of rows."""
    new = ("inputs", "inputs_sha256", "store_layers", "store_from_run", "num_test_rows", "trained_anew")
    if (run / "run.json").is_file():
        facts = open_run(str(run)).facts
        (run / "run.json").write_text(json.dumps({key: value for key, value in facts.items() if key not in new}))
    facts = {"store": "there", "identity_sha256": identity_sha256}
    (run / "ledger" / "store.json").write_text(json.dumps(facts))
    for path in (run / "ledger").glob("*.safetensors"):
        entry = read_entry(path)
        assert entry is not None
        old = ("validation_sha256", "num_train_rows", "shuffle_seed", "compute_dtype")
        conditions = {key: entry.facts["conditions"][key] for key in old}
        path.write_bytes(save(entry.tensors, {HEADER: json.dumps(entry.facts | {"conditions": conditions})}))


@pytest.mark.parametrize(("growth", "holds"), [("layers", True), ("views", True), ("test rows", False)])
def test_a_run_of_an_earlier_version_goes_on(
    make_store: MakeStore, tmp_path: Path, growth: str, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a run does not say which rows it used, so it belongs to all rows of its store."""
    url, out = small(make_store), tmp_path / "r"
    train(url, str(out), ONCE)
    as_earlier(out, open_store(url).identity.sha256)
    anew = trained(monkeypatch)
    train(url, str(out), ONCE)
    assert not anew
    as_earlier(out, open_store(url).identity.sha256)
    small(make_store, **GROWTH[growth])
    if holds:
        assert select(str(out), BEST).test is not None
    else:
        with pytest.raises(IdentityError, match="dataset_sha256: "):
            select(str(out), BEST)


def test_a_store_that_is_still_growing_is_waited_for(make_store: MakeStore, tmp_path: Path) -> None:
    url, out = small(make_store), str(tmp_path / "r")
    run: Run = train(url, out, TrainSettings.model_validate(ONCE.model_dump()))
    small(make_store, layers=(0, 1, 2), num_shards=1)
    with pytest.raises(IcecoreError, match="64 of 128 rows are missing; finish it with"):
        open_run_store(run)
