"""The RUN folder, which a sweep writes and `select` reads; the only code that reads or writes its files.

run.json is written last and names the digest of every other file: a folder that has one is complete.
"""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from torch import Tensor

from icecore.store import IcecoreError, UsageError

from ..targets import recorded_target
from ..targets.target import Target
from .atomic_switch import Content, replace_files
from .candidate import Candidate
from .result import STATUS_OK, EpochResult, candidate_of, result_to_row
from .sealed_folder import Document, checksum, document_bytes, load_document
from .tensor_file import TensorFile
from .validation_file import FILE as KEPT
from .validation_file import OLD_FILE, read_predictions
from .validation_predictions import ValidationPredictions

DOCUMENT, ADAPTERS = "run.json", "adapters.safetensors"
REMEDY = "run the icecore train command of this run again: what is trained is kept in its ledger"
FACTS = {  # the required keys of run.json and their types
    "store": str,
    "identity": dict,
    "identity_sha256": str,
    "backbone": dict,
    "preprocessing": dict,
    "classes": list,
    "target": dict,
    "layers": list,
    "settings": dict,
    "validation": dict,
    "cost": dict,
    "versions": dict,
}
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


@dataclass(frozen=True)
class Run:
    """A finished sweep; reading a file that does not match its checksum raises IntegrityError."""

    path: str
    document: Document

    @property
    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        return self.document.content

    @cached_property
    def sha256(self) -> str:
        """The digest of everything that a choice depends on: parameters, validation predictions, classes and target."""
        is_old = self.document.files is None and not (self.document.folder / KEPT).exists()
        digests = [self.document.digest(name) for name in (ADAPTERS, OLD_FILE if is_old else KEPT)]
        return checksum([digests, self.facts["classes"], self.facts["target"]])

    @cached_property
    def results(self) -> pa.Table:
        """The table of results, one row per adapter and epoch."""
        name = "results.parquet"
        try:
            table = pq.read_table(pa.BufferReader(self.document.read(name)), use_threads=False)
        except pa.ArrowException as error:
            raise self.document.broken(name, f"is no Parquet that can be read ({str(error).splitlines()[0]})") from None
        if lacking := sorted(set(RESULTS.names) - set(table.column_names)):
            raise self.document.broken(name, f"has no column {lacking[0]!r}")
        return table

    @cached_property
    def candidates(self) -> dict[str, Candidate]:
        """Every adapter that finished its training, by id."""
        last = {row["adapter_id"]: row for row in self.results.to_pylist()}
        made = {key: (candidate_of(row), row["epoch"]) for key, row in last.items() if row["status"] == STATUS_OK}
        return {key: one for key, (one, epoch) in made.items() if epoch == one.recipe.epochs}

    def require_finished(self) -> None:
        """Raise IcecoreError where no adapter finished its training."""
        if not self.candidates:
            hint = "see status in results.parquet, lower --lr"
            raise IcecoreError(f"{self.path}: no adapter finished its training; {hint}")

    def tensors(self, wanted: Collection[str] | None = None) -> dict[str, dict[str, Tensor]]:
        """Return the parameters of finished adapters by adapter_id and name: of all, or of the `wanted` ones."""
        found: dict[str, dict[str, Tensor]] = {}
        try:
            with safe_open(self.document.checked(ADAPTERS), "pt") as file:
                for name in file.keys():  # noqa: SIM118  no mapping
                    adapter_id, _, parameter = name.partition("/")
                    if wanted is None or adapter_id in wanted:
                        found.setdefault(adapter_id, {})[parameter] = file.get_tensor(name)
        except SafetensorError as error:
            raise self.document.broken(ADAPTERS, f"holds no tensors that can be read ({error})") from None
        return found

    @cached_property
    def target(self) -> Target:
        """The target of the run, as fitted to its train rows."""
        return recorded_target(self.facts["target"])

    def validation_predictions(self) -> ValidationPredictions:
        """Return the validation predictions of every finished adapter.

        Raises:
            IcecoreError: the file is damaged, or an earlier version stored values too large for float16.
        """
        self._require_kept()
        found = read_predictions(str(self.document.folder), self.target)
        parameters = {row["adapter_id"]: row["num_parameters"] for row in self.results.to_pylist()}
        return ValidationPredictions(
            candidates=tuple(self.candidates[adapter_id] for adapter_id in found.tables.names),
            num_parameters=tuple(parameters[adapter_id] for adapter_id in found.tables.names),
            rows=found.rows,
            labels=found.labels,
            target=self.target,
            tables=found.tables,
            loss_terms=found.loss_terms,
            verdicts=found.verdicts,
        )

    def _require_kept(self) -> None:
        """Check that the file of predictions is the one that run.json names; it has checksums of its own parts."""
        if self.document.files is not None:
            with self.document.opened(KEPT):
                self.document.require(KEPT, TensorFile(self.document.folder / KEPT).digest)


def open_run(path: str) -> Run:
    """Open a RUN folder; UsageError if it is none, IcecoreError if it is damaged or of a later version."""
    try:
        document = load_document(Path(path) / DOCUMENT, REMEDY)
    except FileNotFoundError:
        if (Path(path) / "ledger").is_dir():
            raise UsageError(f"{path}: its training is not finished, it has no {DOCUMENT}; {REMEDY}") from None
        raise UsageError(
            f"{path}: is not a run, it has no {DOCUMENT}; make one with icecore train STORE --out"
        ) from None
    for name, kind in FACTS.items():
        if not isinstance(document.content.get(name), kind):
            raise document.broken(DOCUMENT, f"expected {name} as {kind.__name__}, got {document.content.get(name)!r}")
    return Run(path, document)


def results_bytes(results: list[EpochResult]) -> bytes:
    """Return the bytes of results.parquet."""
    return _parquet(pa.Table.from_pylist([result_to_row(result) for result in results], RESULTS))


def metrics_bytes(figures: dict[str, dict[str, float]]) -> bytes:
    """Return the bytes of metrics.parquet: one row per finished adapter, one column per metric."""
    rows = [{"adapter_id": key} | mine for key, mine in figures.items()]
    return _parquet(pa.Table.from_pylist(rows) if rows else pa.table({"adapter_id": pa.array([], pa.string())}))


def write_run(path: str, files: Mapping[str, Content], facts: dict[str, Any]) -> Run:
    """Write the files of a RUN folder, run.json last, and open the folder."""
    Path(path).mkdir(parents=True, exist_ok=True)
    replace_files(Path(path), DOCUMENT, partial(document_bytes, facts), files)
    (Path(path) / OLD_FILE).unlink(missing_ok=True)
    return open_run(path)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue()
