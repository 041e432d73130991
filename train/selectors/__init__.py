"""The selectors: each chooses among trained adapters from their kept validation predictions, and from nothing else.

One file each, one line each in the table.
"""

from collections.abc import Callable

from icecore.store import choose

from ..run import Kept
from ..settings import SelectSettings
from .best import best

Selector = Callable[[Kept, SelectSettings], dict[str, float]]  # positive weights by adapter_id, that sum to one

SELECTORS: dict[str, Selector] = {
    "best": best,
}


def get_selector(name: str) -> Selector:
    """Return a selector by name; UsageError lists the choices."""
    return choose(SELECTORS, name, "selector")


__all__ = ["SELECTORS", "Selector", "get_selector"]
