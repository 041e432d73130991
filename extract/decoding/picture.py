"""Opens an image file with a library that reads it in full: Pillow, or tifffile where Pillow refuses or cuts it."""

import numpy as np
from PIL import Image

from .channels import Channels
from .deep import deep_reader, is_cut_tiff
from .opening import open_image, orientation_of, refuse_bomb
from .rules import Decoding
from .tiff import Tiff, is_tiff

FULL = {
    "1": "L",
    "P": "RGB",
    "La": "LA",
    "RGBa": "RGBA",
    "PA": "RGBA",
}  # modes whose values are no plain channels, and their conversions


class Picture:
    """An open image file, of which only the header has been read. Without rules Pillow opens every file.

    Raises:
        UsageError: tifffile is needed and is not installed.
        Exception: of any type, where the bytes are no image.
    """

    def __init__(self, data: bytes, rules: Decoding | None) -> None:
        self._data = data
        self._bands = rules.bands if rules else None
        self._opened = open_image(data) if rules is None else _open(data, self._bands is not None)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as stored."""
        return self._opened.width, self._opened.height

    @property
    def is_of_bands(self) -> bool:
        """Whether the file does not say which bands are colours, so that the user must choose."""
        return self._bands is None and isinstance(self._opened, Tiff) and not self._opened.is_picture

    @property
    def is_deep(self) -> bool:
        """Whether a channel has more than 8 bits, or signed values."""
        return self._opened.is_deep if isinstance(self._opened, Tiff) else deep_reader(self._opened) is not None

    @property
    def has_alpha(self) -> bool:
        """Whether pixels may be transparent."""
        if isinstance(self._opened, Tiff):
            return self._opened.has_alpha
        return self._opened.has_transparency_data

    @property
    def has_frames(self) -> bool:
        """Whether there are several frames or pages; previews that cameras add to a JPEG do not count."""
        if isinstance(self._opened, Tiff):
            return self._opened.num_pages > 1
        return self._opened.format != "MPO" and getattr(self._opened, "is_animated", False)

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8, of the pixels; it changes when Pillow loads, and turns, a TIFF."""
        return self._opened.orientation if isinstance(self._opened, Tiff) else orientation_of(self._opened)

    def require_no_bomb(self) -> None:
        """Raise DecompressionBombError where the image has too many pixels for memory."""
        refuse_bomb(*self.size)

    def plain(self) -> Image.Image | None:
        """Return the image where Pillow alone reads it in full and no bands are chosen, else None."""
        if isinstance(self._opened, Tiff) or self._bands or deep_reader(self._opened):
            return None
        return self._opened

    def channels(self) -> Channels:
        """Return the values of all channels, or of the chosen bands."""
        if isinstance(self._opened, Tiff):
            channels = self._opened.channels(pages_are_bands=self._bands is not None)
        elif read := deep_reader(self._opened):
            channels = read(self._opened, self._data)
        else:
            channels = _bytes_of(self._opened)
        return channels.chosen(self._bands) if self._bands else channels


def _open(data: bytes, for_bands: bool) -> Image.Image | Tiff:
    try:
        image = open_image(data)
    except ValueError:
        if is_tiff(data):
            return Tiff(data)
        raise
    has_pages = for_bands and image.format == "TIFF" and getattr(image, "is_animated", False)
    return Tiff(data) if has_pages or is_cut_tiff(image) else image


def _bytes_of(image: Image.Image) -> Channels:
    mode = FULL.get(image.mode, image.mode)
    values = np.asarray(image.convert("RGBA" if mode == "RGB" and image.has_transparency_data else mode))
    return Channels(values.reshape(image.height, image.width, -1), 0)
