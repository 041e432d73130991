"""The work of an extraction: batches decoded ahead, run through the backbone and written a shard at a time.

Runs in one process, through streamed blocks, or on dask workers. May import every other room of `extract`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
