"""The rows of a store as pixels: a source seen in the store's order, and what becomes of an input that fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from icecore.store import IcecoreError, Sample

from ..decoding.augmentation import Augmentation
from ..decoding.rules import DEFAULT
from ..files.passing import PassingError, in_words, is_passing, persistently
from ..sources import Source
from .reading import read_again

if TYPE_CHECKING:
    from ..backbone.transform import Preprocessing


@dataclass(frozen=True, slots=True)
class Images:
    """For each row its place in the source, what scanning found there, and how an image becomes pixels."""

    source: Source
    places: Sequence[int]
    samples: Sequence[Sample]
    transform: "Preprocessing"
    augment: Augmentation | None = None

    def ordered(self, order: Sequence[int], augment: Augmentation | None) -> "Images":
        """Return the rows in another order, and with views."""
        places, samples = [self.places[row] for row in order], [self.samples[row] for row in order]
        return Images(self.source, places, samples, self.transform, augment)

    def pixels(self, row: int, view: int = 0) -> UInt8[Tensor, "3 y x"] | str:
        """Return the pixels of a row, or in words what is wrong with its bytes; view 0 is the plain image.

        Raises:
            PassingError: reading or decoding fails now, and may go well another time.
            ChangedError: the bytes are not those that were scanned.
            IcecoreError: the image is good, and cannot be augmented or resized.
        """
        sample = self.samples[row]
        if not sample.sha256:
            return "FileNotFoundError: listed by the source, but not there when it was scanned"
        data = read_again(self.source, self.places[row], sample)
        rules = self.transform.decoding
        told = () if rules == DEFAULT else (rules,)  # a source need not know of rules that nobody changed
        try:
            decode = partial(self.source.decode, data, *told)
            image = persistently(decode, f"{sample.key!r}: cannot be decoded", is_passing)
        except IcecoreError:  # not about the bytes
            raise
        except Exception as error:  # Pillow raises a dozen types for broken images
            return in_words(error)
        return self._prepared(image, sample.key, view)

    def _prepared(self, image: Image.Image, key: str, view: int) -> UInt8[Tensor, "3 y x"] | str:
        """Return the pixels of a good image; what fails here is no fault of its bytes, unless they explode."""

        def prepare() -> UInt8[Tensor, "3 y x"]:
            return self.transform.pixels(self.augment(image, key, view) if view and self.augment is not None else image)

        try:
            return persistently(prepare, f"{key!r}: cannot be transformed", is_passing)
        except PassingError:
            raise
        except Image.DecompressionBombError as error:
            return in_words(error)
        except Exception as error:
            whose = f"view {view}: --augment" if view else "the backbone's transform"
            raise IcecoreError(
                f"{key!r}, {image.width} x {image.height} pixels: is a good image that {whose} cannot take "
                f"({in_words(error)}); change the transform or leave the image out"
            ) from error
