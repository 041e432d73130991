"""The store: the format of cached activations on disk, and the only code that reads or writes it.

A store is a Zarr v3 group that holds one data set seen through one frozen backbone: the tokens of every chosen layer,
a table with the label, split and key of every row, and a ledger of the shards that are finished. This package knows
nothing of images, backbones or training.
"""

from .lazy import lazy_package

lazy_package(__name__)
