"""Linear probe: the classifier alone, on the final norm's output as the model itself pools it.

The one method here that a cache serves as well; it is the floor that the others stand on.
"""

from typing import Any

import torch

from ..method import Method


class Linear(Method):
    """Nothing in the backbone."""

    lrs = (1e-3, 1e-2)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Leave everything frozen."""
