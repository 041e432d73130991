"""The cost of a run in seconds, bytes and parameters, from the run and, where readable, from its store."""

from typing import Any

from icecore.store import Store

from ..show.wording import duration, percent, short, size
from .findings import Findings

Lines = list[tuple[str, str]]
NAMES = {
    "num_adapters": "adapters trained",
    "num_diverged": "adapters that diverged",
    "num_stopped": "adapters stopped early",
    "elapsed_seconds": "training, wall-clock time",
    "training_seconds": "computing time, all workers",
    "reading_seconds": "reading time, all workers",
    "bytes_read": "bytes read",
    "device": "device",
    "compute_dtype": "computed in",
}


def cost_of(findings: Findings, store: Store | None) -> Lines:
    """Return the costs as (name, quantity): first of a prediction, then of training."""
    cost = findings.run["cost"]
    lines = [(name, _quantity(key, cost[key])) for key, name in NAMES.items() if key in cost]
    parameters = _spaced(sum(each.num_parameters for each in findings.trained))
    chosen = _prediction(findings.selection["cost"]) if findings.selection else []
    return [*chosen, *lines, ("parameters, all adapters", parameters), *_store_lines(store)]


def _prediction(cost: dict[str, Any]) -> Lines:
    blocks = f" of {cost['num_blocks']}" if cost["num_blocks"] else ""
    lines = [
        ("deepest layer of the choice", f"{cost['deepest_layer']}{blocks}"),
        ("parameters of the choice", _spaced(cost["num_parameters"])),
        ("multiply-adds an image, adapters", _spaced(cost["adapter_multiply_adds"])),
    ]
    if cost["share"] is not None:
        lines.append(("multiply-adds an image, backbone below", _spaced(cost["backbone_multiply_adds"])))
        lines.append(("prediction, share of the whole backbone", f"{percent(cost['share'])} %"))
    return lines


def _quantity(key: str, value: Any) -> str:
    if key.endswith("seconds"):
        return duration(value)
    return size(value) if "bytes" in key else short(value)


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def _store_lines(store: Store | None) -> Lines:
    if store is None:
        return [("store on disk", "not reachable when this page was made")]
    return [("store on disk", size(store.num_bytes())), ("rows in the store", str(store.num_rows))]
