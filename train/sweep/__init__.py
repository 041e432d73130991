"""Training all adapters that read the same layers together: grid, stacks, optimiser, halving, checkpoints.

The room may import every room of `train` but `selection`.
"""

from icecore.store import lazy_package

lazy_package(__name__)
