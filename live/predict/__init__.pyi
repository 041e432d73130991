"""The public names of `icecore.live.predict`, by module; each is imported when it is first asked for."""

from .answers import JsonLines, open_answers
from .inputs import images_of

__all__ = [
    "JsonLines",
    "images_of",
    "open_answers",
]
