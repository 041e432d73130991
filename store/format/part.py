"""One stored array of a layer, as a codec declares it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Part:
    """The numpy type, the shape behind (view, row), the names of those axes, and notes for other readers."""

    dtype: np.dtype
    shape: tuple[int, ...]
    dimensions: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return math.prod(self.shape) * self.dtype.itemsize


class ValueOutOfRange(ValueError):  # noqa: N818  a fact about a value, given a place by the writer
    """A value that the codec cannot keep: its position in the batch, and the value."""

    def __init__(self, row: int, value: float, limit: str) -> None:
        super().__init__(f"value {value!r} {limit}")
        self.row = row
