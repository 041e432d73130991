"""Opens an image file held in memory as far as its header: format, size and orientation."""

import io
import logging

from PIL import ExifTags, Image, UnidentifiedImageError

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Pillow writes warnings about files to standard error
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(data: bytes) -> Image.Image:
    """Return an image of which only the header has been read.

    Raises:
        ValueError: the bytes are of no format that Pillow knows.
    """
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:  # its own text names an address in memory, which differs from run to run
        raise ValueError(f"no known image format in {len(data)} bytes") from None


def refuse_bomb(width: int, height: int) -> None:
    """Raise DecompressionBombError where Pillow would only warn.

    Python cannot turn warnings into errors in one thread alone.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise Image.DecompressionBombError(f"{width} x {height} pixels exceed the limit of {limit}")


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where none is recorded or what is recorded cannot be read.

    A loaded TIFF has orientation 1, because Pillow turns its pixels upright itself.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken EXIF raises anything, and the picture is good all the same
        return 1
    return orientation if orientation in UPRIGHT else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image turned upright from an EXIF orientation, 1 to 8."""
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
