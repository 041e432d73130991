"""Bundles on raw images: the frozen backbone up to the deepest layer in use, then the adapters; and their export.

Knows nothing of training. May import the modules at the top of `live` alone.
"""

from icecore.store import lazy_package

lazy_package(__name__)
