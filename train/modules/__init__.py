"""Tensors in, tensors out: attention, normalisation, frozen blocks, least squares and other parts of adapters.

Every function works on stacks of adapters. Knows no store, no label and no adapter. Imports no other room.
"""

from icecore.store import lazy_package

lazy_package(__name__)
