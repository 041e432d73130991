"""The public names of `icecore.extract.decoding`, by module; each is imported when it is first asked for."""

from .augmentation import Augmentation
from .decode import EXTENSIONS, decode_image
from .rules import Decoding, recorded_decoding

__all__ = [
    "Augmentation",
    "Decoding",
    "EXTENSIONS",
    "decode_image",
    "recorded_decoding",
]
