"""LayerNorm tuning: gamma and beta of every norm over tokens."""

from typing import Any

import torch
from torch import nn

from ..method import Method


class LayerNorm(Method):
    """The affine part of all norms, the final one included."""

    lrs = (1e-3, 5e-3)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Unfreeze gamma and beta of every LayerNorm."""
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
