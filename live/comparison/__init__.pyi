"""The public names of `icecore.live.comparison`, by module; each is imported when it is first asked for."""

from .comparison import COMPARISON_FILE, read_comparison
from .intrinsic_dimension import intrinsic_dimension

__all__ = [
    "COMPARISON_FILE",
    "intrinsic_dimension",
    "read_comparison",
]
