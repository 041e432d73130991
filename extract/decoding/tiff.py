"""Reads TIFF files that Pillow refuses or cuts to 8 bits, with the optional library tifffile."""

import io
import logging
from typing import Any

import numpy as np

from icecore.store import UsageError

from .channels import Channels, Values

logging.getLogger("tifffile").addHandler(
    logging.NullHandler()
)  # else tifffile writes warnings about files to standard error
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION = 274
NUM_COLOURS = {"MINISWHITE": 1, "MINISBLACK": 1, "RGB": 3}  # by photometric interpretation


def is_tiff(data: bytes) -> bool:
    """Return whether bytes begin like a TIFF or BigTIFF file."""
    return data.startswith(MAGIC)


class Tiff:
    """An open TIFF file of grey or RGB values, of which only the tags of the first page have been read.

    Raises:
        UsageError: tifffile is not installed.
        ValueError: the file has other colours than grey or RGB, or values that are no numbers.
        Exception: of any other type, where the bytes are no TIFF.
    """

    def __init__(self, data: bytes) -> None:
        self._file: Any = _tifffile().TiffFile(io.BytesIO(data))
        self._page = self._file.pages[0]
        name, dtype = self._page.photometric.name, self._page.dtype
        if name not in NUM_COLOURS or dtype is None or dtype.kind not in "buif":
            raise ValueError(f"TIFF of {name.lower()} and {dtype}; expected grey or RGB numbers")
        self._num_colours = NUM_COLOURS[name]
        self._is_inverted = name == "MINISWHITE"
        self.width, self.height = int(self._page.imagewidth), int(self._page.imagelength)
        self.num_pages = len(self._file.pages)
        tag = self._page.tags.get(ORIENTATION)
        self.orientation = 1 if tag is None else int(tag.value)

    @property
    def is_deep(self) -> bool:
        """Whether there are more than 8 bits a channel."""
        return self._page.dtype.itemsize > 1

    @property
    def is_picture(self) -> bool:
        """Whether the tags say which channels are grey or RGB."""
        return self._num_colours == 3 or self._page.samplesperpixel == 1 + self.has_alpha

    @property
    def has_alpha(self) -> bool:
        """Whether the channel after the colours is opacity; by default a fourth channel of RGB is."""
        extra = [sample.name for sample in self._page.extrasamples]
        if not extra:
            return self._num_colours == 3 and self._page.samplesperpixel == 4
        return extra[0] in ("ASSOCALPHA", "UNASSALPHA")

    def channels(self, pages_are_bands: bool = False) -> Channels:
        """Return the channels of the first page; with `pages_are_bands`, one channel a page of a grey file."""
        series = self._file.series[0]
        if pages_are_bands and self._page.samplesperpixel == 1 and len(series.shape) == 3:
            return Channels(np.moveaxis(series.asarray(), 0, 2), 0, is_inverted=self._is_inverted)
        values = self._page.asarray()
        values = np.moveaxis(values, 0, 2) if self._page.axes == "SYX" else values.reshape(self.height, self.width, -1)
        if self.has_alpha and self._page.extrasamples and self._page.extrasamples[0].name == "ASSOCALPHA":
            values = _unmultiplied(values, self._num_colours)
        return Channels(values, self._num_colours * self.is_picture, self.has_alpha, self._is_inverted)


def _unmultiplied(values: Values, num_colours: int) -> Values:
    """Undo the multiplication of colours by alpha (associated alpha)."""
    alpha = values[..., num_colours : num_colours + 1].astype(np.float64)
    full = 1.0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    colours = np.minimum(values[..., :num_colours] * (full / np.maximum(alpha, 1e-12)), full)
    return np.concatenate([np.where(alpha > 0, colours, 0).astype(values.dtype), values[..., num_colours:]], 2)


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError:
        raise UsageError(
            "TIFF of more than 8 bits a colour or of many bands: tifffile is not installed; pip install 'icecore[tiff]'"
        ) from None
    return tifffile
