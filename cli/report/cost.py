"""What a run cost: seconds and bytes, from the run itself and, where it can be reached, from its store."""

from typing import Any

from ..wording import duration, short, size
from .findings import Findings

NAMES = {
    "num_adapters": "adapters trained",
    "num_diverged": "of them diverged",
    "num_stopped": "of them stopped early",
    "elapsed_seconds": "training, from start to end",
    "training_seconds": "computing, all workers",
    "reading_seconds": "reading, all workers",
    "bytes_read": "bytes read",
    "device": "device",
    "compute_dtype": "computed in",
}


def cost_of(findings: Findings) -> list[tuple[str, str]]:
    """List the costs as lines of name and quantity."""
    cost = findings.run["cost"]
    lines = [(name, _quantity(key, cost[key])) for key, name in NAMES.items() if key in cost]
    parameters = f"{sum(each.num_parameters for each in findings.trained):,}".replace(",", " ")
    return [*lines, ("parameters, all adapters", parameters), *_store_lines(findings.run["store"])]


def _quantity(key: str, value: Any) -> str:
    if key.endswith("seconds"):
        return duration(value)
    return size(value) if "bytes" in key else short(value)


def _store_lines(url: str) -> list[tuple[str, str]]:
    from icecore.store import IcecoreError, open_store

    try:
        store = open_store(url)
        return [("store on disk", size(store.num_bytes())), ("rows in the store", str(store.num_rows))]
    except (IcecoreError, OSError):
        return [("store on disk", "not reachable when this page was made")]
