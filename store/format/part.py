"""The declaration of one stored array of a layer, which every codec makes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Part:
    """One array: its dtype, the shape and axis names after (view, row), and the Zarr attributes for other readers."""

    dtype: np.dtype
    shape: tuple[int, ...]
    dimensions: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def row_bytes(self) -> int:
        """The size of one row in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class ValueOutOfRange(ValueError):  # noqa: N818  a fact about a value, given a place by the writer
    """A value that the codec cannot represent; `row` is the index of its row in the batch."""

    def __init__(self, row: int, value: float, limit: str) -> None:
        super().__init__(f"value {value!r} {limit}")
        self.row = row
