"""Stored tokens as batches: read from the store or held in memory, in an order that is a function of the seed.

Knows nothing of adapters. May import `modules` and `targets`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
