"""What a sweep was asked and what came of it, as the RUN folder records it."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .candidate import Candidate
from .group import OK, EpochResult
from .halving import STOPPED
from .ledger import Outcome
from .run import Run, adapters_bytes, metrics_bytes, results_bytes, validation_bytes, write_run
from .work import Work


def record(
    out: str,
    work: Work,
    candidates: Sequence[Candidate],
    outcomes: list[Outcome],
    elapsed_seconds: float,
    peak_bytes: int | None,
) -> Run:
    """Write the RUN folder of a finished sweep, in the order of its candidates, whatever order they were trained in.

    Seconds and peak are those of the last call, and of this process: None where the system does not tell.
    """
    validation, source = work.split.validation, work.store
    place = {candidate.adapter_id: place for place, candidate in enumerate(candidates)}
    results = [result for outcome in outcomes for result in outcome.results]
    results.sort(key=lambda result: (place[result.candidate.adapter_id], result.epoch))
    tables = {key: table for outcome in outcomes for key, table in outcome.predictions.items()}
    predictions = {key: tables[key] for key in sorted(tables, key=lambda key: place[key])}
    labels = work.target.labels(source, validation)
    files = {
        "results.parquet": results_bytes(results),
        "adapters.safetensors": adapters_bytes({k: v for outcome in outcomes for k, v in outcome.trained.items()}),
        "validation.parquet": validation_bytes(predictions, validation, labels),
        "metrics.parquet": metrics_bytes(
            {key: work.target.metrics(table.float(), labels) for key, table in predictions.items()}
        ),
    }
    cost = _cost(work, outcomes) | {"elapsed_seconds": elapsed_seconds, "peak_bytes": peak_bytes}
    return write_run(out, files, _facts(work, results) | {"cost": cost})


def _facts(work: Work, results: list[EpochResult]) -> dict[str, Any]:
    identity = work.store.identity
    return {
        "store": work.store.url if "://" in work.store.url else str(Path(work.store.url).resolve()),
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
        "settings": work.settings.model_dump(mode="json"),
        "validation": {
            "how": work.split.how,
            "num_rows": len(work.split.validation),
            "num_train_rows": len(work.split.train),
            "rows_sha256": work.split.rows_sha256,
        },
        "versions": {name: importlib.metadata.version(name) for name in ("icecore", "torch", "numpy", "pyarrow")},
    }


def _cost(work: Work, outcomes: list[Outcome]) -> dict[str, Any]:
    """Seconds are of the clock, threads side by side; bytes are what the rows read of each layer take on disk."""
    results = [result for outcome in outcomes for result in outcome.results]
    specs = work.store.spec.layers
    num_values = sum(spec.num_tokens * spec.width for spec in specs.values()) * work.store.num_rows
    spans = [outcome.results[0].candidate.layers for outcome in outcomes if outcome.results]
    num_rows = len(work.split.train) + 2 * len(work.split.validation)  # once to train by, once for what is kept
    num_read = sum(specs[layer].num_tokens * specs[layer].width for span in spans for layer in span) * num_rows
    return {
        "training_seconds": sum(outcome.training_seconds for outcome in outcomes) / work.num_workers,
        "reading_seconds": sum(outcome.reading_seconds for outcome in outcomes) / work.num_workers,
        "bytes_read": round(work.store.num_bytes() * num_read / max(1, num_values)),
        "num_adapters": len({result.candidate.adapter_id for result in results}),
        "num_diverged": sum(result.status != OK and not result.status.startswith(STOPPED) for result in results),
        "num_stopped": sum(result.status.startswith(STOPPED) for result in results),
        "device": str(work.device),
        "compute_dtype": str(work.dtype).removeprefix("torch."),
    }
