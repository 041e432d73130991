"""The public names of `icecore.extract.rows`, by module; each is imported when it is first asked for."""

from .images import Images
from .survey import note_image

__all__ = [
    "Images",
    "note_image",
]
