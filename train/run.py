"""The RUN folder: what a sweep leaves behind, and the only code that reads or writes it.

run.json is written last: a folder that has one is complete.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load, save
from torch import Tensor

from icecore.store import IcecoreError, UsageError, create_atomic, write_atomic

from .candidate import Candidate
from .group import OK, EpochResult
from .kept import Kept
from .kept_file import OLD_FILE, read_predictions
from .result import candidate_of, to_row
from .target import Target
from .targets import fitted

FORMAT = 1
RESULTS = pa.schema(
    [
        ("adapter_id", pa.string()),
        ("adapter", pa.string()),
        ("layer", pa.int32()),
        ("layers", pa.list_(pa.int32())),
        ("config", pa.string()),
        ("seed", pa.int64()),
        ("lr", pa.float64()),
        ("weight_decay", pa.float64()),
        ("epoch", pa.int32()),
        ("train_loss", pa.float64()),
        ("validation_score", pa.float64()),
        ("validation_loss", pa.float64()),
        ("seconds", pa.float64()),
        ("num_parameters", pa.int64()),
        ("status", pa.string()),
        ("recipe", pa.string()),
    ]
)
Content = bytes | Callable[[IO[bytes]], None]  # of a file: what is in it, or what writes it front to back


@dataclass(frozen=True)
class Run:
    """A finished sweep, as its folder says."""

    path: str
    facts: dict[str, Any]

    @cached_property
    def results(self) -> pa.Table:
        """One row for every adapter and epoch."""
        return pq.read_table(Path(self.path) / "results.parquet", use_threads=False)

    @cached_property
    def candidates(self) -> dict[str, Candidate]:
        """Every adapter that finished its training, by id."""
        last = {row["adapter_id"]: row for row in self.results.to_pylist()}
        made = {key: (candidate_of(row), row["epoch"]) for key, row in last.items() if row["status"] == OK}
        return {key: one for key, (one, epoch) in made.items() if epoch == one.recipe.epochs}

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The parameters of every finished adapter, by id."""
        found: dict[str, dict[str, Tensor]] = {}
        for name, tensor in load((Path(self.path) / "adapters.safetensors").read_bytes()).items():
            adapter_id, _, parameter = name.partition("/")
            found.setdefault(adapter_id, {})[parameter] = tensor
        return found

    @cached_property
    def target(self) -> Target:
        """What it was trained towards, as fitted to its train rows."""
        return fitted(self.facts["target"])

    def kept(self) -> Kept:
        """The validation predictions of every finished adapter; IcecoreError where they are no numbers."""
        predictions, rows, labels = read_predictions(self.path)
        parameters = {row["adapter_id"]: row["num_parameters"] for row in self.results.to_pylist()}
        tables = list(predictions.values())
        if any(table.dtype == torch.float16 for table in tables):  # of an earlier version, in the data set's unit
            labels, tables = self.target.standardised(labels), [self._widened(table) for table in tables]
        return Kept(
            candidates=tuple(self.candidates[adapter_id] for adapter_id in predictions),
            num_parameters=tuple(parameters[adapter_id] for adapter_id in predictions),
            rows=rows,
            labels=labels,
            target=self.target,
            predictions=torch.stack(tables) if tables else torch.empty(0, len(rows), 0),
        )

    def _widened(self, table: Tensor) -> Tensor:
        if not table.isfinite().all():
            raise IcecoreError(f"{self.path}: some predictions were too large for float16; train into a new RUN")
        return self.target.standardised(table).float()


def open_run(path: str) -> Run:
    """Open a RUN folder; IcecoreError if it is none or of another format."""
    try:
        facts = json.loads((Path(path) / "run.json").read_text())
    except FileNotFoundError:
        raise UsageError(f"{path}: is not a run, it has no run.json; make one with icecore train STORE --out") from None
    except ValueError as error:
        raise IcecoreError(f"{path}/run.json: is not readable JSON ({error}); train again") from None
    if facts.get("format") != FORMAT:
        raise IcecoreError(f"{path}: has run format {facts.get('format')!r}, this icecore reads {FORMAT}; train again")
    return Run(path, facts)


def results_bytes(results: list[EpochResult]) -> bytes:
    """Return results.parquet."""
    return _parquet(pa.Table.from_pylist([to_row(result) for result in results], RESULTS))


def adapters_bytes(trained: dict[str, dict[str, Tensor]]) -> bytes:
    """Return adapters.safetensors."""
    flat = {
        f"{key}/{name}": tensor.contiguous() for key, tensors in trained.items() for name, tensor in tensors.items()
    }
    return save(flat)


def metrics_bytes(figures: dict[str, dict[str, float]]) -> bytes:
    """Return metrics.parquet: one row for every finished adapter."""
    rows = [{"adapter_id": key} | mine for key, mine in figures.items()]
    return _parquet(pa.Table.from_pylist(rows) if rows else pa.table({"adapter_id": pa.array([], pa.string())}))


def write_run(path: str, files: Mapping[str, Content], facts: dict[str, Any]) -> Run:
    """Write a RUN folder, run.json last."""
    Path(path).mkdir(parents=True, exist_ok=True)
    for name in ("run.json", OLD_FILE):
        (Path(path) / name).unlink(missing_ok=True)
    for name, content in files.items():
        with create_atomic(f"{path}/{name}") as file:
            _ = file.write(content) if isinstance(content, bytes) else content(file)
    write_atomic(f"{path}/run.json", json.dumps({"format": FORMAT} | facts, indent=2).encode())
    return open_run(path)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue()
