"""Loads frozen backbones, checks their weights, and returns the tokens of any of their layers.

Beside the source `timm:`, the only room of `extract` that imports timm. May import `decoding`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
