"""A store whose labels count the classes of a run instead of the store's own, matched by class name."""

import functools

import numpy as np
from jaxtyping import Int64

from icecore.store import Store, StoreSpec


class Relabelled(Store):
    """The store at `url` with labels that are indices into `classes`; rows of any other class have no label."""

    def __init__(self, url: str, classes: tuple[str, ...]) -> None:
        super().__init__(url)
        self._classes = classes

    @functools.cached_property
    def spec(self) -> StoreSpec:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The store's own specification, with the given classes."""
        return super().spec.model_copy(update={"classes": self._classes})

    @functools.cached_property
    def labels(self) -> Int64[np.ndarray, " row"]:
        """The index of every row's class among the given classes; -1 where the row has none of them."""
        own_labels = np.array(self.samples["label"].fill_null(-1))
        new_label = [self._classes.index(name) if name in self._classes else -1 for name in super().spec.classes]
        return np.append(np.array(new_label, own_labels.dtype), -1)[own_labels]  # -1 selects the appended -1

    def strangers(self, rows: Int64[np.ndarray, " row"]) -> list[str]:
        """Return the sorted names of the classes of `rows` that are not among the given classes."""
        own_classes = super().spec.classes
        labels = np.array(self.samples["label"].fill_null(-1))[rows]
        return sorted({own_classes[label] for label in labels if label >= 0} - set(self._classes))
