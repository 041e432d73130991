"""A store under the names of a run that knows more classes: its labels count the run's classes, by name.

Knows names alone; rows and tokens are the store's own.
"""

import functools

import numpy as np
from jaxtyping import Int64

from icecore.store import Store, StoreSpec


class Relabelled(Store):
    """A store whose classes are those given; all of its own must be among them."""

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
        places = [self._names.index(name) for name in super().spec.classes]
        own = np.array(self.samples["label"].fill_null(-1))
        return np.append(np.array(places, own.dtype), -1)[own]
