"""Linear probe: the classifier alone, on the final norm's output as the model itself pools it.

The only method here that cached tokens can train too; it is the baseline of the others.
"""

from typing import Any

import torch

from ..method import Method


class Linear(Method):
    """Train the classifier alone."""

    lrs = (1e-3, 1e-2)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Leave everything frozen."""
