"""Recognises video files by their endings; they are not read yet, and the user is told so."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePath

from icecore.store import UsageError

ENDINGS = frozenset(
    {
        ".mp4",
        ".m4v",
        ".avi",
        ".mov",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".m2ts",
        ".mjpeg",
    }
)
INSTEAD = "videos are not read yet; write their frames as images, each of which is a row of its own"


def is_clip(name: str) -> bool:
    """Return whether a file name has the ending of a video."""
    return PurePath(name).suffix.lower() in ENDINGS


def require_no_clips(names: Iterable[str], where: str) -> None:
    """Raise UsageError where a name has the ending of a video."""
    if clips := [name for name in names if is_clip(name)]:
        raise UsageError(f"{where}: {len(clips)} video file{'s' * (len(clips) > 1)}, first {clips[0]!r}: {INSTEAD}")


def require_images(path: Path, where: str) -> None:
    """Raise UsageError where a path without images is a video, or a folder with videos."""
    names = (name for _, _, files in os.walk(path) for name in files) if path.is_dir() else [path.name]
    require_no_clips(sorted(names), where)
