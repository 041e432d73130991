"""Tensors in, tensors out: attention, normalisation, frozen blocks, least squares and other parts of adapters.

The functions work on stacks of adapters. The room knows no store, no label and no adapter, and imports no other room.
"""

from icecore.store import lazy_package

lazy_package(__name__)
