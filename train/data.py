"""Some rows as training sees them. Knows nothing of adapters."""

from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor

from .feed import Feed
from .target import Labels


@dataclass(frozen=True)
class Data:
    """The rows of some layers, with their labels, and their groups where they have any."""

    feed: Feed
    labels: Labels
    groups: Int64[Tensor, " row"] | None = None
