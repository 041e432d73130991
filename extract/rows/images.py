"""Reads, decodes and transforms the images of rows, and separates bad images from temporary failures."""

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
    """The images of the rows of a store.

    `places` has the index of each row in the source, `samples` the result of scanning each row.
    """

    source: Source
    places: Sequence[int]
    samples: Sequence[Sample]
    transform: "Preprocessing"
    augment: Augmentation | None = None

    def ordered(self, order: Sequence[int], augment: Augmentation | None) -> "Images":
        """Return the images with row i at index `order[i]` of these, and with augmented views."""
        places, samples = [self.places[row] for row in order], [self.samples[row] for row in order]
        return Images(self.source, places, samples, self.transform, augment)

    def pixels(self, row: int, view: int = 0) -> UInt8[Tensor, "3 y x"] | str:
        """Return the pixels of a row, or the cause of failure where its bytes are bad; view 0 is the plain image.

        Raises:
            PassingError: reading or decoding fails for a temporary reason.
            ChangedError: the bytes differ from those that were scanned.
            IcecoreError: a good image cannot be augmented or resized.
        """
        sample = self.samples[row]
        if not sample.sha256:
            return "FileNotFoundError: listed by the source, but not there when it was scanned"
        data = read_again(self.source, self.places[row], sample)
        rules = self.transform.decoding
        arguments = () if rules == DEFAULT else (rules,)  # a source of your own need not take the default rules
        try:
            decode = partial(self.source.decode, data, *arguments)
            image = persistently(decode, f"{sample.key!r}: cannot be decoded", is_passing)
        except IcecoreError:  # not about the bytes
            raise
        except Exception as error:  # Pillow raises a dozen types for broken images
            return in_words(error)
        return self._prepared(image, sample.key, view)

    def _prepared(self, image: Image.Image, key: str, view: int) -> UInt8[Tensor, "3 y x"] | str:
        """Return the pixels of a decoded image; a failure here is not the fault of its bytes, except a bomb."""

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
