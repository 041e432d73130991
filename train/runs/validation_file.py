"""RUN/validation.safetensors: the predictions of every finished adapter for the validation rows, and their labels.

`rows` and `labels`, then `predictions/ADAPTER_ID` of every adapter, in the order of the sweep and in the type that the
ledger keeps; numbers are in deviations from the mean of the train rows, which run.json records under `target`. Where
the target is brief, `evidence` (the loss terms) and `verdicts` of all adapters follow, so that a choice reads
predictions for the scores of mixtures alone. One adapter at a time is in memory while the file is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from icecore.store import IcecoreError

from ..targets.target import Labels, Target, wide
from .prediction_tables import PredictionTables
from .tensor_file import TensorFile, TensorSpec, TensorWriter

FILE, OLD_FILE = "validation.safetensors", "validation.parquet"
PREFIX = "predictions/"


@dataclass(frozen=True)
class Predictions:
    """The predictions of all adapters for the validation rows, the labels, and the terms of losses and scores."""

    rows: Int64[Tensor, " row"]
    labels: Labels
    tables: PredictionTables
    loss_terms: Float[Tensor, "adapter row value"]
    verdicts: Shaped[Tensor, "adapter row verdict"]

    @classmethod
    def in_memory(
        cls,
        tables: Mapping[str, Float[Tensor, "row output"]],
        rows: Int64[Tensor, " row"],
        labels: Labels,
        target: Target,
    ) -> "Predictions":
        """Return Predictions from tables by adapter_id that are in memory."""
        stacked = torch.stack(list(tables.values())) if tables else torch.empty(0, len(rows), 1)
        values = stacked.to(wide(stacked.dtype))
        verdicts = target.verdicts(values, labels) if target.is_brief else stacked
        return cls(
            rows, labels, PredictionTables.in_memory(list(tables), stacked), target.loss_terms(values, labels), verdicts
        )


def write_predictions(
    file: IO[bytes],
    predictions: Mapping[str, Float[Tensor, "row output"]],
    rows: Int64[np.ndarray, " row"],
    labels: Labels,
    target: Target,
) -> str:
    """Write the file and return its digest (`TensorWriter.finish`).

    `predictions` maps adapter_id to tables of one type and shape, and may load each table when it is accessed.
    """
    truth = {"rows": torch.from_numpy(rows), "labels": labels}
    specs = {name: TensorSpec.of(tensor) for name, tensor in truth.items()} | _specs(predictions, target)
    writer = TensorWriter(file, specs)
    for name, tensor in truth.items():
        writer.write(name, tensor)
    brief: dict[str, list[Tensor]] = {"evidence": [], "verdicts": []}
    for key, table in predictions.items():
        writer.write(f"{PREFIX}{key}", table)
        if target.is_brief:
            values = table.to(wide(table.dtype))[None]
            brief["evidence"].append(target.loss_terms(values, labels))
            brief["verdicts"].append(target.verdicts(values, labels))
    for name, parts in brief.items():
        for part in parts:
            writer.write(name, part)
    return writer.finish()


def _specs(predictions: Mapping[str, Float[Tensor, "row output"]], target: Target) -> dict[str, TensorSpec]:
    if not predictions:
        return {}
    first = TensorSpec.of(next(iter(predictions.values())))
    if not target.is_brief:
        return {f"{PREFIX}{key}": first for key in predictions}
    shape = (len(predictions), first.shape[0], 1)
    brief = {"evidence": TensorSpec(wide(first.dtype), shape), "verdicts": TensorSpec(torch.uint8, shape)}
    return {f"{PREFIX}{key}": first for key in predictions} | brief


def read_predictions(run: str, target: Target) -> Predictions:
    """Return the predictions of a RUN; for a brief target the tables stay on disk and are read on demand."""
    path = Path(run) / FILE
    if not path.exists():
        return _held(run, *_read_parquet(Path(run) / OLD_FILE), target)
    file = TensorFile(path)
    names = [name.removeprefix(PREFIX) for name in file.specs if name.startswith(PREFIX)]
    rows, labels = file.read("rows"), file.read("labels")
    if "evidence" not in file.specs:
        return _held(run, {name: file.read(f"{PREFIX}{name}") for name in names}, rows, labels, target)
    spec, loss_terms = file.specs[f"{PREFIX}{names[0]}"], file.read("evidence")

    def read(into: Tensor, name: str, start: int) -> None:
        file.read_into(into, f"{PREFIX}{name}", start)

    num_rows, num_outputs = spec.shape
    tables = PredictionTables(tuple(names), num_rows, num_outputs, spec.dtype, read)
    return Predictions(rows, labels, tables, loss_terms, file.read("verdicts"))


def _held(
    run: str,
    tables: Mapping[str, Float[Tensor, "row output"]],
    rows: Int64[Tensor, " row"],
    labels: Labels,
    target: Target,
) -> Predictions:
    """Return predictions in memory; float16 tables of earlier versions are converted from the data set's unit."""
    if any(table.dtype == torch.float16 for table in tables.values()):
        if not all(table.isfinite().all() for table in tables.values()):
            raise IcecoreError(f"{run}: some predictions were too large for float16; train into a new RUN")
        labels = target.standardised(labels)
        tables = {key: target.standardised(table).float() for key, table in tables.items()}
    return Predictions.in_memory(tables, rows, labels, target)


def _read_parquet(path: Path) -> tuple[dict[str, Float[Tensor, "row output"]], Int64[Tensor, " row"], Labels]:
    """Return tables, rows and labels from an earlier version's file: a float16 row per adapter and validation row."""
    table = pq.read_table(path, use_threads=False)
    ids = list(dict.fromkeys(table["adapter_id"].to_pylist()))
    num_rows = len(table) // max(1, len(ids))
    values = table["predictions"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    tables = torch.from_numpy(np.array(values)).view(len(ids), num_rows, -1) if ids else ()
    truth = table.select(["row", "label"]).slice(0, num_rows).to_pydict()
    rows, labels = torch.tensor(truth["row"], dtype=torch.int64), torch.tensor(truth["label"])
    return dict(zip(ids, tables, strict=True)), rows, labels
