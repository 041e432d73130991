"""The source `sklearn:`, small image data sets that come with scikit-learn and need no download."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from icecore.store import Sample, choose

from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.tally import Tally
from ..labels.columns import DEFAULT, Columns

TEST_EVERY = 5  # of each class, in scikit-learn's order: every fifth is test


class SklearnSource:
    """A data set of `sklearn.datasets`, of which every fifth image of a class is test; source bytes are grey values."""

    kind = "sklearn"

    def __init__(self, path: str, _columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        images, labels, self.classes = choose(DATASETS, path, "scikit-learn data set")()
        self._size = (images.shape[2], images.shape[1])
        self._bytes = [image.tobytes() for image in images]
        seen: Counter[int] = Counter()
        samples = []
        for row, label in enumerate(labels.tolist()):
            seen[label] += 1
            split = "test" if seen[label] % TEST_EVERY == 0 else "train"
            key = f"{split}/{self.classes[label]}/{row:04d}"
            samples.append(Sample(key, label, split, width=self._size[0], height=self._size[1]))
        self._rows = sorted(range(len(samples)), key=lambda row: samples[row].key)
        self.samples = tuple(samples[row] for row in self._rows)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return False: these data sets have no path."""
        return False

    def read(self, row: int) -> bytes:
        """Return the grey values of one image, one byte a pixel, row by row."""
        return self._bytes[self._rows[row]]

    def decode(self, data: bytes, _rules: Decoding | None = RULES) -> Image.Image:
        """Return the grey values as an RGB image."""
        if len(data) != self._size[0] * self._size[1]:
            raise ValueError(f"{len(data)} bytes, expected {self._size[0]} x {self._size[1]}")
        return Image.frombytes("L", self._size, data).convert("RGB")


def _digits() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return 1,797 handwritten digits of 8 x 8 pixels, whose 17 grey levels are spread over 0 to 255."""
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import

    values, labels = load_digits(return_X_y=True)
    grey = np.round(np.asarray(values).reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return grey, np.asarray(labels), tuple(map(str, range(10)))


DATASETS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray, tuple[str, ...]]]] = {"digits": _digits}
