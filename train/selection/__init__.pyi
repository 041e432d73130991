"""The public names of `icecore.train.selection`, by module; each is imported when it is first asked for."""

from .attention import stored_attention
from .bundle import BUNDLE_FILES
from .cost import Cost, Costs
from .measure import Measure

__all__ = [
    "Cost",
    "Costs",
    "BUNDLE_FILES",
    "Measure",
    "stored_attention",
]
