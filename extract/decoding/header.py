"""Reads the header of an image file, before any pixel is decoded."""

from dataclasses import dataclass

from icecore.store import UsageError

from .picture import Picture
from .rules import Decoding


@dataclass(frozen=True, slots=True)
class Header:
    """The size in pixels as stored, before any turn by EXIF, and properties that users are told of."""

    width: int
    height: int
    is_deep: bool  # more than 8 bits a channel
    is_of_bands: bool  # the file does not say which bands are colours
    has_alpha: bool
    has_frames: bool
    is_turned: bool  # EXIF gives another orientation than upright

    @property
    def is_plain(self) -> bool:
        """Whether the image has none of these properties."""
        return not (self.is_deep or self.is_of_bands or self.has_alpha or self.has_frames or self.is_turned)


def read_header(data: bytes, rules: Decoding | None) -> Header | None:
    """Return the header of an image file; None where it cannot be read.

    Raises:
        UsageError: a library is needed that is not installed.
    """
    try:
        picture = Picture(data, rules)
        return Header(
            *picture.size,
            is_deep=picture.is_deep,
            is_of_bands=picture.is_of_bands,
            has_alpha=picture.has_alpha,
            has_frames=picture.has_frames,
            is_turned=picture.orientation != 1,
        )
    except UsageError:
        raise
    except Exception:  # Pillow raises a dozen types for broken headers; the decoder will name the cause
        return None
