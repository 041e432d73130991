"""Turns image files into RGB pixels: formats, bit depths, bands, orientation and transparency, by recorded rules.

Knows nothing of where the bytes came from. Imports no other room.
"""

from icecore.store import lazy_package

lazy_package(__name__)
