"""K-fold cross-validation: every train row is predicted by adapters that were not trained on it.

Folds are stratified by class and never divide a group. Reads labels, groups and splits of the samples; never a token.
"""

import warnings

import numpy as np
from jaxtyping import Int64

from icecore.store import Store, UsageError

from .split import Split, check_classes, groups_of, left_out, strata_of, train_rows

NEVER = -1  # held out


def cross_validation_splits(store: Store, count: int, seed: int) -> list[Split]:
    """Return `count` splits that together hold out every train row once, then a split that trains on all rows.

    The only row, or group, of a class is never held out, since no adapter could have learnt the class.

    Raises:
        UsageError: the store has a split `validation`, or too few rows for `count` folds.
    """
    if len(store.rows("validation")):
        raise UsageError(f"{store.url}: has a split named 'validation', which is used as it is; leave out --folds")
    train = train_rows(store)
    labels, groups = strata_of(store, train), groups_of(store, train)
    grouped = "" if groups is None else " by group"
    how = f"{count} folds of train, stratified{grouped}, seed {seed}{left_out(store, 'train')}"
    whole = Split(train, train[:0], how)
    check_classes(store, whole)
    fold_of = _deal(labels, None if groups is None else groups.numpy(), count, seed)
    held = [fold_of == fold for fold in range(count)]
    if not all(mine.any() for mine in held):
        most = f"{np.bincount(labels).max()} in the largest class"
        raise UsageError(
            f"{store.url}: {len(train)} train rows, {most}, leave some of {count} folds empty; ask for fewer"
        )
    return [*(Split(train[~mine], train[mine], how) for mine in held), whole]


def _deal(
    labels: Int64[np.ndarray, " row"], groups: Int64[np.ndarray, " row"] | None, count: int, seed: int
) -> Int64[np.ndarray, " row"]:
    """Return the fold that holds out each row, from 0; NEVER for rows that stay in train."""
    fold_of = np.full(len(labels), NEVER)
    if np.bincount(labels).max(initial=0) < count:
        return fold_of
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # 150 MB that training has no use for

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class of fewer rows than folds is in some folds only
        for fold, (_, held) in enumerate(kind(count, shuffle=True, random_state=seed).split(labels, labels, groups)):
            fold_of[held] = fold
    blocks = np.arange(len(labels)) if groups is None else groups
    for fold in range(count):  # who takes a whole class along stays
        held = fold_of == fold
        lost = held & ~np.isin(labels, labels[~held])
        fold_of[held & np.isin(blocks, blocks[lost])] = NEVER
    return fold_of
