"""The selectors: each chooses among trained adapters from their kept validation predictions, and from nothing else.

One file each, one line each in the table.
"""

from collections.abc import Callable, Sequence

from icecore.store import choose

from ...runs.validation_predictions import Places, ValidationPredictions, Weights
from ...settings import SelectSettings
from .average import average
from .bagged import bagged
from .best import best
from .greedy import greedy
from .lasso import lasso
from .stacking import stacking

# A choice for each of several draws of rows: what it takes once for all draws, such as reading, it does once.
Selector = Callable[[ValidationPredictions, Sequence[Places], SelectSettings], Weights]

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
