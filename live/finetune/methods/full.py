"""Full fine-tuning: every weight of the backbone is trained."""

from typing import Any

import torch

from ..method import Method


class Full(Method):
    """Train all weights of the backbone; of all methods this takes the most memory."""

    lrs = (1e-4, 3e-4)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Unfreeze every parameter."""
        model.requires_grad_(True)
