"""The rows of a store as pixels: a source seen in the store's order, and what becomes of an input that fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from icecore.store import IcecoreError, Sample

from .augmentation import Augmentation
from .sources import Source

ToPixels = Callable[[Image.Image], UInt8[Tensor, "3 y x"]]


@dataclass(frozen=True, slots=True)
class Images:
    """For each row its place in the source, what scanning found there, and how an image becomes pixels."""

    source: Source
    places: Sequence[int]
    samples: Sequence[Sample]
    to_pixels: ToPixels
    augment: Augmentation | None = None

    def ordered(self, order: Sequence[int], augment: Augmentation | None) -> "Images":
        """Return the rows in another order, and with views."""
        places, samples = [self.places[row] for row in order], [self.samples[row] for row in order]
        return Images(self.source, places, samples, self.to_pixels, augment)

    def pixels(self, row: int, view: int = 0) -> UInt8[Tensor, "3 y x"] | str:
        """Return the pixels of a row, or in words why there are none; view 0 is the plain image.

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
            image = self.source.decode(data)
            if view and self.augment is not None:
                image = self.augment(image, self.samples[row].key, view)
            return self.to_pixels(image)
        except Exception as error:  # Pillow raises a dozen types for broken images
            return _words(error)


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
