"""A store under the names of the classes that a run knows: its labels count those, by name.

Knows names alone; rows and tokens are the store's own.
"""

import functools

import numpy as np
from jaxtyping import Int64

from icecore.store import Store, StoreSpec


class Relabelled(Store):
    """A store whose classes are those given; rows of any other class are `strangers`, and have no label."""

    def __init__(self, url: str, classes: tuple[str, ...]) -> None:
        super().__init__(url)
        self._names = classes

    @functools.cached_property
    def spec(self) -> StoreSpec:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The store's own, with the classes given."""
        return super().spec.model_copy(update={"classes": self._names})

    @functools.cached_property
    def labels(self) -> Int64[np.ndarray, " row"]:
        """The label of every row among the classes given, -1 where there is none."""
        own = np.array(self.samples["label"].fill_null(-1))
        places = [self._names.index(name) if name in self._names else -1 for name in super().spec.classes]
        return np.append(np.array(places, own.dtype), -1)[own]

    def strangers(self, rows: Int64[np.ndarray, " row"]) -> list[str]:
        """Return the classes of some rows that are not among those given."""
        own = super().spec.classes
        there = {own[label] for label in np.array(self.samples["label"].fill_null(-1))[rows] if label >= 0}
        return sorted(there - set(self._names))
