"""The backbone and trained adapters together again, on raw images, and the methods that train inside a backbone."""

from icecore.store import lazy_package

lazy_package(__name__)
