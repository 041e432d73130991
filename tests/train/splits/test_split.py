from collections.abc import Sequence

import numpy as np
import pytest

from icecore.store import IcecoreError, open_store
from icecore.train.splits.split import hold_out

from ..conftest import MakeStore


def test_every_class_gives_its_share_and_no_row_is_lost(make_store: MakeStore) -> None:
    store = open_store(make_store(131))
    split = hold_out(store, 0.2, seed=0)
    both = np.sort(np.concatenate([split.train, split.validation]))
    assert both.tolist() == store.rows("train").tolist()
    counts = np.bincount(store.labels[split.validation])
    assert counts.sum() == round(0.2 * len(both))
    assert counts.max() - counts.min() <= 1


def test_the_split_is_the_seeds_alone(make_store: MakeStore) -> None:
    store = open_store(make_store(131))
    same, other = hold_out(store, 0.2, seed=0), hold_out(store, 0.2, seed=1)
    assert hold_out(store, 0.2, seed=0).rows_sha256 == same.rows_sha256 != other.rows_sha256


def test_no_group_is_on_both_sides(make_store: MakeStore) -> None:
    groups = [f"track {row // 4}" for row in range(131)]
    labels = [(row // 4) % 3 for row in range(131)]
    store = open_store(make_store(131, labels=labels, groups=groups))
    split = hold_out(store, 0.2, seed=0)
    assert not {groups[row] for row in split.train} & {groups[row] for row in split.validation}
    assert 0.1 < len(split.validation) / len(store.rows("train")) < 0.3
    assert set(store.labels[split.train]) == set(store.labels[split.validation]) == {0, 1, 2}
    assert "by group" in split.how


def test_a_class_of_one_row_stays_in_train(make_store: MakeStore) -> None:
    labels = [2] + [row % 2 for row in range(130)]
    split = hold_out(open_store(make_store(131, labels=labels)), 0.5, seed=0)
    assert 0 in split.train


def test_a_validation_split_of_the_store_is_used_as_it_is(make_store: MakeStore) -> None:
    splits = [("train", "validation", "test")[row % 3 if row % 7 else 0] for row in range(131)]
    labels = [(row // 3) % 3 for row in range(131)]
    store = open_store(make_store(131, labels=labels, splits=splits))
    split = hold_out(store, 0.2, seed=0)
    assert split.validation.tolist() == store.rows("validation").tolist()
    assert split.train.tolist() == store.rows("train").tolist()


def test_failed_rows_are_on_neither_side(make_store: MakeStore) -> None:
    split = hold_out(open_store(make_store(131, failed=(3, 100))), 0.2, seed=0)
    assert not {3, 100} & {*split.train, *split.validation}


@pytest.mark.parametrize(
    ("labels", "splits", "message"),
    [
        ([0, 0, 0, 1], ["train", "train", "train", "test"], r"'bee' has 1 rows in the split 'test' and 0 in 'train'"),
        ([None] * 4, ["train"] * 4, r"none of 4 train rows has a label \(the first is '0.png'\)"),
        ([0, 1, 0, 1], ["test"] * 4, r"no row is in the split 'train' \(test: 4\)"),
        ([0, 1, 2, 0], ["train", "train", "train", "test"], r"3 train rows leave none for validation"),
    ],
)
def test_what_cannot_be_learnt_is_said(
    make_store: MakeStore, labels: Sequence[int | None], splits: Sequence[str], message: str
) -> None:
    store = open_store(make_store(4, labels=labels, splits=splits))
    with pytest.raises(IcecoreError, match=message):
        hold_out(store, 0.2, seed=0)


def test_rows_without_a_label_have_no_part_and_are_counted(make_store: MakeStore) -> None:
    labels = [None if row in (3, 40) else row % 2 for row in range(131)]
    store = open_store(make_store(131, labels=labels, splits=["train"] * 131))
    split = hold_out(store, 0.2, seed=0)
    assert len(split.train) + len(split.validation) == 129
    assert not {3, 40} & {*split.train, *split.validation}
    assert split.how.endswith("; 2 train rows without a label left out")
