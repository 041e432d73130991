"""Join the outcomes of cross-validation folds and of the training on all rows into one outcome.

The parameters are those of the training on all rows, so a choice costs no more than without folds. The predictions
are out of fold: those of each row come from the adapter that was not trained on it. Score and loss are means over the
folds, weighted by rows. The history of an adapter is truncated at the first epoch in which any of its trainings ended;
adapters that ended early in fold 1 skip the other folds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int64

from .lazy_mapping import LazyMapping, chained
from .ledger import Outcome
from .result import STATUS_OK, EpochResult

Rows = Int64[np.ndarray, " _row"]  # the number differs from fold to fold


def out_of_fold(folds: Sequence[Sequence[Outcome]], held: Sequence[Rows], whole: Sequence[Outcome]) -> Outcome:
    """Join the outcomes of every fold, with the rows that each fold held out, and those of all rows (`whole`)."""
    tables = [chained(outcome.predictions for outcome in one) for one in folds]
    trained = chained(outcome.trained for outcome in whole)
    finished = [key for key in trained if all(key in table for table in tables)]
    order = torch.from_numpy(np.concatenate(held).argsort())
    everything = [outcome for one in (*folds, whole) for outcome in one]
    return Outcome(
        results=list(_results([_by_id(one) for one in folds], [len(rows) for rows in held], _by_id(whole))),
        trained=LazyMapping(finished, trained.__getitem__),
        predictions=LazyMapping(finished, lambda key: torch.cat([table[key] for table in tables])[order]),
        reading_seconds=sum(outcome.reading_seconds for outcome in everything),
        training_seconds=sum(outcome.training_seconds for outcome in everything),
    )


def _by_id(outcomes: Sequence[Outcome]) -> dict[str, list[EpochResult]]:
    found: dict[str, list[EpochResult]] = {}
    for outcome in outcomes:
        for result in outcome.results:
            found.setdefault(result.candidate.adapter_id, []).append(result)
    return found


def _results(
    folds: Sequence[dict[str, list[EpochResult]]], sizes: Sequence[int], whole: dict[str, list[EpochResult]]
) -> Iterator[EpochResult]:
    """Yield the joined epochs of every adapter, up to the epoch in which the first of its trainings ended."""
    for adapter_id, first in folds[0].items():
        if adapter_id not in whole:
            yield from first
            continue
        mine = whole[adapter_id], *(fold[adapter_id] for fold in folds)
        for epoch in zip(*mine, strict=False):  # the first to end ends all
            yield _joined(*epoch, sizes=sizes)


def _joined(whole: EpochResult, *folds: EpochResult, sizes: Sequence[int]) -> EpochResult:
    ended = [
        f"{one.status} ({where})"
        for where, one in [("all rows", whole), *((f"fold {number}", one) for number, one in enumerate(folds, 1))]
        if one.status != STATUS_OK
    ]
    return replace(
        whole,
        validation_score=_mean([one.validation_score for one in folds], sizes),
        validation_loss=_mean([one.validation_loss for one in folds], sizes),
        seconds=math.fsum(one.seconds for one in (whole, *folds)),
        status=ended[0] if ended else STATUS_OK,
    )


def _mean(values: Sequence[float], sizes: Sequence[int]) -> float:
    return sum(value * size for value, size in zip(values, sizes, strict=True)) / sum(sizes)
