"""The RUN folder of a finished sweep: its settings, results, predictions and cost."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from icecore.store import Store

from ..runs.adapters_file import write_adapters
from ..runs.atomic_switch import Content
from ..runs.candidate import Candidate
from ..runs.lazy_mapping import LazyMapping, chained
from ..runs.ledger import Outcome
from ..runs.origin import places
from ..runs.out_of_fold import out_of_fold
from ..runs.result import STATUS_DIVERGED, STATUS_STOPPED, EpochResult
from ..runs.run import Run, metrics_bytes, results_bytes, write_run
from ..runs.validation_file import FILE, write_predictions
from ..settings import TrainSettings
from ..splits.split import Split, count_classes
from ..targets.target import Target
from .task import SplitContext


def record(
    out: str,
    settings: TrainSettings,
    works: Sequence[SplitContext],
    candidates: Sequence[Candidate],
    outcomes: Sequence[Sequence[Outcome]],
    growth: Sequence[str],
    elapsed_seconds: float,
    peak_bytes: int | None,
) -> Run:
    """Write the RUN folder of a finished sweep, in the order of its candidates, and return the run.

    `outcomes` holds the outcomes of each split of `works`: one split, or the folds and last the split of all rows.
    `growth` names the parts of the store that are new, for which everything was trained anew. `elapsed_seconds` and
    `peak_bytes` are of the last call and of this process; None where the system does not report the peak.
    """
    work, joined = works[-1], list(outcomes[-1])
    held = [work_of_split.split.validation for work_of_split in works]
    validation, source = np.sort(np.concatenate(held)), work.store
    if len(works) > 1:
        folds = [_in_unit_of(work.target, one.target, mine) for one, mine in zip(works, outcomes, strict=True)][:-1]
        joined = [out_of_fold(folds, held[:-1], outcomes[-1])]
    rank = {candidate.adapter_id: rank for rank, candidate in enumerate(candidates)}
    results = [result for outcome in joined for result in outcome.results]
    results.sort(key=lambda result: (rank[result.candidate.adapter_id], result.epoch))
    tables, trained = (chained(kind) for kind in zip(*((one.predictions, one.trained) for one in joined), strict=True))
    predictions = LazyMapping(sorted(tables, key=lambda key: rank[key]), tables.__getitem__)
    trained = LazyMapping(sorted(trained, key=lambda key: rank[key]), trained.__getitem__)
    truth = work.target.truth(source, validation)
    files: dict[str, Content] = {
        "results.parquet": results_bytes(results),
        "adapters.safetensors": partial(write_adapters, trained=trained),
        FILE: partial(write_predictions, predictions=predictions, rows=validation, labels=truth, target=work.target),
        "metrics.parquet": metrics_bytes(
            {key: work.target.metrics(table.float(), truth) for key, table in predictions.items()}
        ),
    }
    cost = _cost(works, outcomes, results) | {"elapsed_seconds": elapsed_seconds, "peak_bytes": peak_bytes}
    split = Split(work.split.train, validation, work.split.how)
    asked = {"settings": settings.model_dump(mode="json"), "trained_anew": list(growth), "cost": cost}
    return write_run(out, files, places(source.url, out) | _facts(work, split, len(works) - 1, results) | asked)


def _in_unit_of(whole: Target, fold: Target, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of a fold with predictions in the unit of all rows, since each fold standardises its own."""

    def converted(outcome: Outcome) -> LazyMapping[Tensor]:
        tables = outcome.predictions
        return LazyMapping(tables, lambda key: whole.standardised(fold.in_data_unit(tables[key])).to(tables[key].dtype))

    return [replace(outcome, predictions=converted(outcome)) for outcome in outcomes]


def _facts(work: SplitContext, split: Split, num_folds: int, results: list[EpochResult]) -> dict[str, Any]:
    identity = work.store.identity
    return {
        "inputs": work.inputs.model_dump(mode="json"),
        "store_layers": list(work.store.layers),
        "num_test_rows": len(work.store.rows("test")),
        "identity": identity.model_dump(mode="json"),
        "identity_sha256": identity.sha256,
        "backbone": {
            "name": identity.backbone,
            "weights_sha256": identity.weights_sha256,
            "compute_dtype": identity.compute_dtype,
            "checkpoint": work.store.spec.checkpoint,
        },
        "preprocessing": identity.preprocessing,
        "classes": list(work.store.classes),
        "target": {"name": work.store.spec.target, **work.target.model_dump(mode="json")},
        "layers": sorted({layer for result in results for layer in result.candidate.layers}),
        "validation": {
            "how": split.how,
            "num_rows": len(split.validation),
            "num_train_rows": len(split.train),
            "rows_sha256": split.rows_sha256,
            "num_folds": num_folds,
            "fewest_rows_of_a_class": _fewest(work.store, split),
        },
        "versions": {name: importlib.metadata.version(name) for name in ("icecore", "torch", "numpy", "pyarrow")},
    }


def _fewest(store: Store, split: Split) -> int | None:
    """Return the smallest number of validation rows of any class in the train rows; None if none has a class."""
    learnt, judged = (count_classes(store, rows) for rows in (split.train, split.validation))
    return int(judged[learnt > 0].min()) if learnt.any() else None


def _cost(
    works: Sequence[SplitContext], outcomes: Sequence[Sequence[Outcome]], results: Sequence[EpochResult]
) -> dict[str, Any]:
    """Return wall-clock seconds, divided by the workers side by side, and the bytes that the rows read take on disk."""
    work, everything = works[0], [outcome for mine in outcomes for outcome in mine]
    specs = work.store.spec.layers
    num_values = sum(spec.num_tokens * spec.width for spec in specs.values()) * work.store.num_rows
    num_read = sum(_values_read(one, outcome) for one, mine in zip(works, outcomes, strict=True) for outcome in mine)
    return {
        "training_seconds": sum(outcome.training_seconds for outcome in everything) / work.num_workers,
        "reading_seconds": sum(outcome.reading_seconds for outcome in everything) / work.num_workers,
        "bytes_read": round(work.store.num_bytes() * num_read / max(1, num_values)),
        "num_adapters": len({result.candidate.adapter_id for result in results}),
        "num_diverged": sum(result.status.startswith(STATUS_DIVERGED) for result in results),
        "num_stopped": sum(result.status.startswith(STATUS_STOPPED) for result in results),
        "device": str(work.device),
        "compute_dtype": work.compute_dtype,
    }


def _values_read(work: SplitContext, outcome: Outcome) -> int:
    """Return how many scalars of tokens a task reads: its rows, and the validation rows again for the predictions."""
    specs, num_rows = work.store.spec.layers, len(work.split.train) + 2 * len(work.split.validation)
    layers = outcome.results[0].candidate.layers if outcome.results else ()
    return sum(specs[layer].num_tokens * specs[layer].width for layer in layers) * num_rows
