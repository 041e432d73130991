"""Runs an extraction: decodes batches ahead, runs them through the backbone and writes the tokens shard by shard.

Works in one process, block by block for models larger than memory, or on dask workers.
May import every other room of `extract`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
