"""The public names of `icecore.extract.files`, by module; each is imported when it is first asked for."""

from .archives import Archives, archives_of, is_archive
from .tally import Tally
from .video_files import require_images, require_no_clips
from .walk import images_below, passed_over

__all__ = [
    "Archives",
    "Tally",
    "archives_of",
    "images_below",
    "is_archive",
    "passed_over",
    "require_images",
    "require_no_clips",
]
