"""The selectors: each chooses among trained adapters from their kept validation predictions, and from nothing else.

One file each, one line each in the table.
"""

from collections.abc import Callable

from icecore.store import choose

from ..kept import Kept
from ..settings import SelectSettings
from .average import average
from .bagged import bagged
from .best import best
from .greedy import greedy
from .lasso import lasso
from .stacking import stacking

Selector = Callable[[Kept, SelectSettings], dict[str, float]]  # positive weights by adapter_id, that sum to one

SELECTORS: dict[str, Selector] = {
    "best": best,
    "average": average,
    "greedy": greedy,
    "stacking": stacking,
    "lasso": lasso,
    "bagged": bagged,
}


def get_selector(name: str) -> Selector:
    """Return a selector by name; UsageError lists the choices."""
    return choose(SELECTORS, name, "selector")


__all__ = ["SELECTORS", "Selector", "get_selector"]
