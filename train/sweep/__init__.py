"""Training every adapter that reads the same layers, together: the grid, stacks, optimiser, halving, checkpoints.

May import every room of `train` but `selection`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
