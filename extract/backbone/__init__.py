"""Frozen backbones: finding, loading and checking their weights, and the tokens of any of their layers.

The only room of `extract` that imports timm, but for the source `timm:`. May import `decoding`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
