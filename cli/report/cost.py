"""What a run cost: seconds and bytes, from the run itself and, where it can be reached, from its store."""

from ..wording import duration, size
from .findings import Findings


def cost_of(findings: Findings) -> list[tuple[str, str]]:
    """List the costs as lines of name and quantity."""
    lines = [(_name(key), _quantity(key, value)) for key, value in findings.run["cost"].items()]
    parameters = sum(each.num_parameters for each in findings.trained)
    return [
        *lines,
        ("parameters trained, all adapters", f"{parameters:,}".replace(",", " ")),
        *_store_lines(findings.run["store"]),
    ]


def _name(key: str) -> str:
    return key.removesuffix("_seconds").replace("_", " ")


def _quantity(key: str, value: float) -> str:
    if key.endswith("seconds"):
        return duration(value)
    return size(value) if "bytes" in key else f"{value:g}"


def _store_lines(url: str) -> list[tuple[str, str]]:
    from icecore.store import IcecoreError, open_store

    try:
        store = open_store(url)
        return [("store on disk", size(store.num_bytes())), ("rows in the store", str(store.num_rows))]
    except (IcecoreError, OSError):
        return [("store on disk", "not reachable when this page was made")]
