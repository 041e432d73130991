"""The table of a comparison, as comparison.json holds it, and the rows that a RUN of cached adapters adds to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from icecore.store import Frozen, UsageError, open_store
from icecore.train import Run, Selection
from icecore.train.cost import Cost, Costs
from icecore.train.group import OK


class Interval(Frozen):
    """A score with its bootstrap interval."""

    score: float
    low: float
    high: float


class Compared(Frozen):
    """One way to adapt the backbone; scores are None where there is no row, or where training diverged.

    `seconds` are those of the chosen configuration, `search_seconds` of all that were tried; None where nobody counted.
    Of cached adapters they do not hold the extraction, which all of them share. `multiply_adds` are of one image.
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
    """All rows, and what they were made with; `how` says how the validation rows were parted."""

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


def cached_rows(run: Run) -> list[Compared]:
    """Return the best single adapter of a run and what its selector chose; UsageError where nothing is selected."""
    try:
        selection = Selection.model_validate_json((Path(run.path) / "selection.json").read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{run.path}: nothing is selected yet; run icecore select {run.path} first") from None
    best, costs = selection.winner, Costs(open_store(run.facts["store"]))
    chosen = [run.candidates[one.adapter_id] for one in selection.selected]
    several = f"{selection.selector} of {len(chosen)}"
    alone = costs.of([run.candidates[best.adapter_id]], best.num_parameters)
    validation, test = (_interval(best.model_dump(), f"{split}_") for split in ("validation", "test"))
    ensemble = [
        None if one is None else _interval(one.model_dump(), "") for one in (selection.validation, selection.test)
    ]
    return [
        _cached(run, f"{best.adapter}, layer {best.layer}", best.config, best.lr, (validation, test), alone),
        _cached(run, several, selection.settings, None, (ensemble[0], ensemble[1]), selection.cost),
    ]


def _cached(
    run: Run,
    name: str,
    config: dict[str, JsonValue],
    lr: float | None,
    scores: tuple[Interval | None, Interval | None],
    cost: Cost,
) -> Compared:
    below = cost.backbone_multiply_adds
    return Compared(
        name=name,
        kind="cached",
        config=config,
        lr=lr,
        status=OK,
        validation=scores[0],
        test=scores[1],
        num_parameters=cost.num_parameters,
        seconds=None,
        search_seconds=run.facts["cost"]["elapsed_seconds"],
        peak_bytes=None,
        multiply_adds=None if below is None else below + cost.adapter_multiply_adds,
    )


def _interval(figures: Mapping[str, Any], prefix: str) -> Interval | None:
    values = {name: figures[prefix + name] for name in Interval.model_fields}
    return None if values["score"] is None else Interval.model_validate(values)
