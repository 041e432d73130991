"""Image files as RGB pixels: formats, bit depths, bands, orientation, transparency, and the rules that say how.

Knows nothing of where the bytes came from. Imports no other room.
"""

from icecore.store import lazy_package

lazy_package(__name__)
