"""Decodes an image file held in memory; knows nothing of where the bytes came from."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

from .channels import Channels, Values
from .opening import open_image, refuse_bomb, upright
from .picture import Picture
from .rules import DEFAULT, Decoding

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif"}
)


def decode_image(data: bytes, decoding: Decoding | None = DEFAULT) -> Image.Image:
    """Return the RGB image of a file.

    Args:
        data: the bytes of the file.
        decoding: the rules. None decodes as in stores older than the rules: EXIF orientation is not applied,
            transparency is dropped, and values of more than 8 bits are clipped or cut.

    Raises:
        UsageError: a library is needed that is not installed.
        Exception: of any type, where the bytes are no image, cut short, or a decompression bomb.
    """
    if decoding is None:
        return _without_rules(open_image(data))
    picture = Picture(data, decoding)
    picture.require_no_bomb()
    plain = picture.plain()
    image = _of_numbers(picture.channels(), decoding) if plain is None else _on_background(plain, decoding.background)
    return upright(image, picture.orientation)


def _without_rules(image: Image.Image) -> Image.Image:
    refuse_bomb(*image.size)
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the same colours; without this step Pillow warns
    return image.convert("RGB")


def _on_background(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return an 8-bit image as RGB, laid on the background where it is transparent."""
    if image.mode == "LAB":
        to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return ImageCms.applyTransform(image, to_rgb) or image
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("LA") if image.mode == "La" else image
    ground = Image.new("RGBA", image.size, (*background, 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def _of_numbers(channels: Channels, decoding: Decoding) -> Image.Image:
    """Return values as an RGB image: LOW to HIGH become 0 to 255, rounded; values beyond are clipped."""
    grey = _bytes(channels.colours, range_of(channels, decoding))
    grey = 255 - grey if channels.is_inverted else grey
    rgb = np.broadcast_to(grey, (*grey.shape[:2], 3))
    if not channels.has_alpha:
        return Image.fromarray(np.ascontiguousarray(rgb))
    alpha = _bytes(channels.values[..., channels.num_colours :][..., :1], channels.type_range)
    return _on_background(Image.fromarray(np.dstack([rgb, alpha])), decoding.background)


def range_of(channels: Channels, decoding: Decoding) -> tuple[float, float]:
    """Return the values that become black and white."""
    kind = channels.kind
    return channels.type_range if kind is None else decoding.range.get(kind, channels.type_range)


def _bytes(values: Values, limits: tuple[float, float]) -> UInt8[np.ndarray, "y x channel"]:
    low, high = limits
    share = (values.astype(np.float64 if values.itemsize > 2 else np.float32) - low) / (high - low)
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)
