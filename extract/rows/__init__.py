"""The rows of a data set: scanned once, counted, read again with the same bytes, and decoded.

Knows nothing of backbones' blocks and of shards. May import `sources`, `backbone` and what these may import.
"""

from icecore.store import lazy_package

lazy_package(__name__)
