"""Decoding an image file held in memory; knows nothing of where the bytes came from."""

import io

from PIL import Image, UnidentifiedImageError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif"}
)


def decode_image(data: bytes) -> Image.Image:
    """Return the RGB image; raises where there is none, where it is cut short, or where it is a decompression bomb.

    As timm has it: EXIF orientation is not applied, transparency is dropped, and of several frames it is the first.
    """
    image = _open(data)
    _refuse_bomb(image)
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the same colours; without this step Pillow warns
    return image.convert("RGB")


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels from the header alone; None where no header can be read."""
    try:
        return _open(data).size
    except Exception:  # Pillow raises a dozen types for broken headers; the decoder will name the cause
        return None


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:  # its own text names an address in memory, which differs from run to run
        raise ValueError(f"no known image format in {len(data)} bytes") from None


def _refuse_bomb(image: Image.Image) -> None:
    """Refuse what Pillow only warns of: warnings cannot be turned into errors in one thread alone."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels exceed the limit of {limit}")
