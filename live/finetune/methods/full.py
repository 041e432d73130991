"""Full fine-tuning: every weight of the backbone is trained."""

from typing import Any

import torch

from ..method import Method


class Full(Method):
    """All weights, and the most memory."""

    lrs = (1e-4, 3e-4)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Thaw everything."""
        model.requires_grad_(True)
