"""Hold validation rows out of the train split, stratified by class and never dividing a group.

Reads labels, groups and splits of the samples; never a token, and of the test split nothing but which classes occur.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from icecore.store import IcecoreError, Store

from ..targets import get_target


@dataclass(frozen=True)
class Split:
    """Row numbers to train on and to validate on, ascending; `how` describes the split in words, for reports."""

    train: Int64[np.ndarray, " train"]
    validation: Int64[np.ndarray, " validation"]
    how: str

    @property
    def rows_sha256(self) -> str:
        """The digest of the validation rows: two runs that share it can be compared."""
        return hashlib.sha256(self.validation.astype("<i8").tobytes()).hexdigest()


def hold_out(store: Store, fraction: float, seed: int) -> Split:
    """Split a store's train rows into train and validation; a split named `validation` is used as it is."""
    train = train_rows(store)
    if len(store.rows("validation")):
        validation = labelled_rows(store, "validation")
        split = Split(train, validation, f"the store's own split{left_out(store, 'train', 'validation')}")
    else:
        split = _part(store, train, fraction, seed)
    check_classes(store, split)
    return split


def train_rows(store: Store) -> Int64[np.ndarray, " row"]:
    """Return the rows of the split 'train' that have a label; IcecoreError if there is none."""
    if not len(store.rows("train")):
        there = ", ".join(f"{name}: {count}" for name, count in store.splits.items()) or "none"
        raise IcecoreError(f"{store.url}: no row is in the split 'train' ({there}); give the source a train split")
    return labelled_rows(store, "train")


def labelled_rows(store: Store, name: str) -> Int64[np.ndarray, " row"]:
    """Return the rows of a split that have a label; IcecoreError if none has."""
    rows, target = store.rows(name), get_target(store.spec.target)
    known = target.known(target.labels(store, rows)).numpy()
    if not known.any():
        key = store.samples["key"][int(rows[0])].as_py()
        raise IcecoreError(
            f"{store.url}: none of {len(rows)} {name} rows has a label (the first is {key!r}); label them in the source"
        )
    return rows[known]


def left_out(store: Store, *names: str) -> str:
    """Return a phrase that counts the unlabelled rows of some splits, which are left out; empty if all have labels."""
    target = get_target(store.spec.target)
    lacking = {name: int((~target.known(target.labels(store, store.rows(name)))).sum()) for name in names}
    told = [f"{count} {name} rows without a label left out" for name, count in lacking.items() if count]
    return "".join(f"; {one}" for one in told)


def strata_of(store: Store, rows: Int64[np.ndarray, " row"]) -> Int64[np.ndarray, " row"]:
    """Return the stratum of each row, such as its class; every row must have a label."""
    target = get_target(store.spec.target)
    return target.strata(target.labels(store, rows))


def _part(store: Store, train: Int64[np.ndarray, " row"], fraction: float, seed: int) -> Split:
    labels = strata_of(store, train)
    groups = np.array(store.samples["group"].to_pylist(), dtype=object)[train]
    generator = np.random.default_rng(seed)
    grouped = any(group is not None for group in groups)
    held = _hold_out_groups(labels, groups, fraction, generator) if grouped else _stratify(labels, fraction, generator)
    if not held.any():
        raise IcecoreError(
            f"{store.url}: {len(train)} train rows leave none for validation; add rows of every class (at least two"
            f"{' groups' if grouped else ''} a class), or a split named 'validation'"
        )
    how = f"{fraction:g} of train, stratified{' by group' if grouped else ''}, seed {seed}{left_out(store, 'train')}"
    return Split(train[~held], train[held], how)


def _stratify(labels: Int64[np.ndarray, " row"], fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Hold out a share of every class, largest remainders first; at least one row of each stays in train."""
    held = np.zeros(len(labels), dtype=bool)
    classes, counts = np.unique(labels, return_counts=True)
    takes = _shares(counts, fraction)
    for label, take in zip(classes, takes, strict=True):
        held[generator.permutation(np.flatnonzero(labels == label))[:take]] = True
    return held


def _shares(counts: np.ndarray, fraction: float) -> Int64[np.ndarray, " class"]:
    exact = counts * fraction
    takes = np.minimum(np.floor(exact), counts - 1).astype(np.int64)
    missing = round(float(exact.sum())) - int(takes.sum())
    order = np.argsort(takes - exact, kind="stable")
    more = [index for index in order if takes[index] < counts[index] - 1]
    takes[more[: max(0, missing)]] += 1
    return takes


def _hold_out_groups(
    labels: Int64[np.ndarray, " row"], groups: np.ndarray, fraction: float, generator: np.random.Generator
) -> np.ndarray:
    """Hold out whole groups, in random order, while that brings the classes nearer to their share."""
    group_of = _numbers(groups)
    table = np.zeros((group_of.max() + 1, labels.max() + 1))  # rows of each class in each group
    np.add.at(table, (group_of, labels), 1)
    wanted, left = table.sum(0) * fraction, table.sum(0)
    held = np.zeros(len(table), dtype=bool)
    for group in generator.permutation(len(table)):
        counts = table[group]
        nearer = np.abs(wanted - counts).sum() < np.abs(wanted).sum()
        if nearer and (left > counts)[counts > 0].all():
            held[group] = True
            wanted, left = wanted - counts, left - counts
    return held[group_of]


def groups_of(store: Store, rows: Int64[np.ndarray, " row"]) -> Int64[Tensor, " row"] | None:
    """Return the group number of each row, a number of its own for a row without group; None if no row has a group."""
    groups = np.array(store.samples["group"].to_pylist(), dtype=object)[rows]
    return torch.from_numpy(_numbers(groups)) if any(group is not None for group in groups) else None


def _numbers(groups: np.ndarray) -> Int64[np.ndarray, " row"]:
    names = np.array([f"row {row}" if group is None else f"group {group}" for row, group in enumerate(groups)])
    return np.unique(names, return_inverse=True)[1]


def check_classes(store: Store, split: Split) -> None:
    """Raise IcecoreError if a class occurs in some split and has no train row."""
    if store.spec.target == "regression":
        return
    num_train = count_classes(store, split.train)
    for name in store.splits:
        counts = count_classes(store, store.rows(name))
        for label in np.flatnonzero((counts > 0) & (num_train == 0)):
            raise IcecoreError(
                f"{store.url}: class {store.classes[label]!r} has {counts[label]} rows in the split {name!r} and 0 in "
                "'train'; add train rows of it to the source, or remove it there"
            )


def count_classes(store: Store, rows: Int64[np.ndarray, " row"]) -> Int64[np.ndarray, " class"]:
    """Return the number of rows of each class among some rows."""
    if store.spec.target == "multilabel":
        return np.nansum(store.targets[rows] > 0, axis=0)
    labels = store.labels[rows]
    return np.bincount(labels[labels >= 0], minlength=len(store.classes))
