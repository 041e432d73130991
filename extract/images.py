"""The rows of a store as pixels: a source seen in the store's order, and what becomes of an input that fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from icecore.store import IcecoreError, Sample

from .sources import Source


@dataclass(frozen=True, slots=True)
class Images:
    """For each row its place in the source, what scanning found there, and how an image becomes pixels."""

    source: Source
    places: Sequence[int]
    samples: Sequence[Sample]
    to_pixels: Callable[[Image.Image], UInt8[Tensor, "3 y x"]]

    def ordered(self, order: Sequence[int]) -> "Images":
        """Return the rows in another order."""
        places, samples = [self.places[row] for row in order], [self.samples[row] for row in order]
        return Images(self.source, places, samples, self.to_pixels)

    def pixels(self, row: int) -> UInt8[Tensor, "3 y x"] | str:
        """Return the pixels of a row, or in words why there are none.

        Raises:
            IcecoreError: the bytes were there when the data set was scanned and are not now. That is no bad input but
                a disk or a network that fails, and the row is not lost by it.
        """
        try:
            data = self.source.read(self.places[row])
        except OSError as error:
            if self.samples[row].sha256:
                raise IcecoreError(f"{self.samples[row].key!r}: can no longer be read ({error})") from error
            return _words(error)
        try:
            return self.to_pixels(self.source.decode(data))
        except Exception as error:  # Pillow raises a dozen types for broken images
            return _words(error)


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
