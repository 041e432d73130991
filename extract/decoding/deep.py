"""Reads in full the channels of images that Pillow opens but would cut to 8 bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from .channels import Channels
from .opening import open_image

DEEP_PNG = ("RGB;16B", "RGBA;16B", "LA;16B")
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
WHITE_IS_ZERO, SIGNED = 0, 2

Read = Callable[[Image.Image, bytes], Channels]


def is_cut_tiff(image: Image.Image) -> bool:
    """Return whether the image is a TIFF of several colours of more than 8 bits, which Pillow cuts to 8."""
    return image.format == "TIFF" and image.mode in ("RGB", "RGBA", "RGBX", "LA") and _tag(image, BITS) > 8


def _tiles(image: Any) -> list[Any]:
    """Return Pillow's unpacking plan: decoder, box, offset and arguments of each tile."""
    return image.tile


def deep_reader(image: Image.Image) -> Read | None:
    """Return the function that reads the channels of an image in full; None where Pillow itself loses nothing."""
    if image.mode in ("I", "F") or image.mode.startswith("I;") or _is_signed(image):
        return _grey
    if image.format == "PNG" and (tiles := _tiles(image)) and tiles[0][3] in DEEP_PNG:
        return _png
    return _ppm if image.format == "PPM" and image.mode == "RGB" and _maxval(image) > 255 else None


def _is_signed(image: Image.Image) -> bool:
    return image.format == "TIFF" and _tag(image, SAMPLE_FORMAT) == SIGNED


def _tag(image: Any, tag: int) -> int:
    """Return the first number of a TIFF tag; 1, the default in the TIFF standard, where the file leaves it out."""
    value = image.tag_v2.get(tag, 1)
    return value[0] if isinstance(value, tuple) else value


def _grey(image: Image.Image, _: bytes) -> Channels:
    """Return the single channel of a grey image, in the type of the file."""
    is_tiff = image.format == "TIFF"
    is_signed, bits = _is_signed(image), _tag(image, BITS) if is_tiff else 16
    is_inverted = is_tiff and _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO
    values = np.asarray(image)
    if values.dtype == np.uint8:
        values = values.view(np.int8)
    elif image.mode == "I":  # Pillow holds 16- and 32-bit integers, signed or not, as int32
        values = values if bits == 32 else values.astype(np.int16 if is_signed else np.uint16)
        values = values if is_signed else values.view(np.dtype(f"u{values.itemsize}"))
    return _with_transparent_colour(Channels(values[..., None], 1, is_inverted=is_inverted), image)


def _png(image: Image.Image, data: bytes) -> Channels:
    """Join the upper and the lower bytes of all channels, which Pillow can unpack one without the other."""
    raw_mode = _tiles(image)[0][3]
    if raw_mode == "LA;16B":
        pixels = _unpacked(data, "RGBA")  # has as many bytes a pixel
        high, low = pixels[..., ::2], pixels[..., 1::2]
    else:
        high, low = np.asarray(image), _unpacked(data, raw_mode.replace("16B", "16L"))
    values = high.astype(np.uint16) << 8 | low
    num_bands = values.shape[2]
    return _with_transparent_colour(Channels(values, 1 if num_bands < 3 else 3, num_bands in (2, 4)), image)


def _unpacked(data: bytes, raw_mode: str) -> UInt8[np.ndarray, "y x channel"]:
    image: Any = open_image(data)
    image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
    return np.asarray(image)


def _ppm(image: Image.Image, data: bytes) -> Channels:
    shape = (image.height, image.width, 3)
    values = np.frombuffer(data, ">u2", int(np.prod(shape)), _tiles(image)[0][2]).reshape(shape)
    return Channels(np.rint(values / _maxval(image) * 65535).clip(0, 65535).astype(np.uint16), 3)


def _maxval(image: Image.Image) -> int:
    """Return the value of white in a PPM file of raw pixels; 255 for any other file."""
    decoder, _, _, arguments = _tiles(image)[0]
    return arguments[1] if decoder == "ppm" and isinstance(arguments, tuple) else 255


def _with_transparent_colour(channels: Channels, image: Image.Image) -> Channels:
    """Add an alpha channel where a PNG declares one colour transparent."""
    colour = image.info.get("transparency")
    if colour is None or channels.has_alpha:
        return channels
    values = channels.values
    alpha = np.where((values == np.asarray(colour)).all(2), 0, np.iinfo(values.dtype).max)
    return Channels(np.dstack([values, alpha.astype(values.dtype)]), channels.num_colours, True)
