"""The table of a comparison, as comparison.json holds it, and the rows that a RUN of cached adapters adds to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue, ValidationError

from icecore.store import Frozen, UsageError, open_store, validation_message
from icecore.train import Run, read_chosen
from icecore.train.runs import STATUS_OK, Document, load_document
from icecore.train.selection import Cost, Costs

COMPARISON_FILE = "comparison.json"
REMEDY = "run the icecore compare command of this folder again: what is trained is kept"


class Interval(Frozen):
    """A score with its bootstrap confidence interval."""

    score: float
    low: float
    high: float


class Compared(Frozen):
    """One row of the table: a way to adapt the backbone; a score is None for a split without rows, or after divergence.

    `seconds` is the training time of the chosen configuration, `search_seconds` that of all configurations tried, both
    without the extraction that cached adapters share. `peak_bytes` is the peak memory of training; for cached adapters,
    of the whole sweep. `multiply_adds` is for one image. A cost is None where it was not measured.
    """

    name: str
    kind: Literal["in-backbone", "cached"]
    config: dict[str, JsonValue]
    lr: float | None
    status: str
    validation: Interval | None
    test: Interval | None
    num_parameters: int
    seconds: float | None
    search_seconds: float | None
    peak_bytes: int | None
    multiply_adds: int | None


class Comparison(Frozen):
    """The table and its conditions; `how` describes the choice of the validation rows."""

    score_name: str
    backbone: str
    weights_sha256: str
    source: str
    how: str
    num_train_rows: int
    device: str
    compute_dtype: str
    versions: dict[str, str]
    settings: dict[str, JsonValue]
    rows: tuple[Compared, ...]


def read_comparison(folder: str) -> Document:
    """Return comparison.json of a folder; IntegrityError where the file is not as `compare` wrote it."""
    document = load_document(Path(folder) / COMPARISON_FILE, REMEDY)
    try:
        Comparison.model_validate(document.content)
    except ValidationError as error:
        raise document.broken(COMPARISON_FILE, validation_message(error)) from None
    return document


def cached_rows(run: Run) -> list[Compared]:
    """Return two rows of the table: the best single adapter of a run, and the selection of the run.

    Raises:
        UsageError: the run has no selection, or was trained further since.
    """
    chosen = read_chosen(run.path)
    if chosen is None:
        raise UsageError(f"{run.path}: nothing is selected yet; run icecore select {run.path} first")
    if not chosen.is_of(run):
        raise UsageError(f"{run.path}: was trained further since the selection; run icecore select {run.path} again")
    selection = chosen.selection
    best, costs = selection.winner, Costs(open_store(run.facts["store"]))
    single = _cached(
        run,
        [best.adapter_id],
        costs.of([run.candidates[best.adapter_id]], best.num_parameters),
        name=f"{best.adapter}, layer {best.layer}",
        config=best.config,
        lr=best.lr,
        validation=_interval(best.model_dump(), "validation_"),
        test=_interval(best.model_dump(), "test_"),
    )
    several = _cached(
        run,
        [member.adapter_id for member in selection.selected],
        selection.cost,
        name=f"{selection.selector} of {len(selection.selected)}",
        config=selection.settings,
        lr=None,
        validation=_interval(selection.validation.model_dump(), ""),
        test=None if selection.test is None else _interval(selection.test.model_dump(), ""),
    )
    return [single, several]


def _cached(run: Run, members: Sequence[str], cost: Cost, **known: Any) -> Compared:
    """Return a row of cached adapters: `known` fields, and the costs of the adapters `members`."""
    below, spent = cost.backbone_multiply_adds, run.facts["cost"]
    seconds = [row["seconds"] for row in run.results.to_pylist() if row["adapter_id"] in members]
    return Compared(
        kind="cached",
        status=STATUS_OK,
        num_parameters=cost.num_parameters,
        seconds=sum(seconds),
        search_seconds=spent["elapsed_seconds"],
        peak_bytes=spent.get("peak_bytes"),
        multiply_adds=None if below is None else below + cost.adapter_multiply_adds,
        **known,
    )


def _interval(figures: Mapping[str, Any], prefix: str) -> Interval | None:
    values = {name: figures[prefix + name] for name in Interval.model_fields}
    return None if values["score"] is None else Interval.model_validate(values)
