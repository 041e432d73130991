"""What is on disk, and the only code that reads or writes it.

A store is a Zarr v3 group that holds one data set seen through one frozen backbone: the tokens of every chosen layer,
the table about its rows, and a ledger that says which rows are there. Knows nothing of images, backbones or training.
"""

from .lazy import lazy_package

lazy_package(__name__)
