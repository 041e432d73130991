"""BitFit (Ben Zaken et al. 2022): the biases, those of the norms included."""

from typing import Any

import torch

from ..method import Method


class BitFit(Method):
    """All biases of the backbone."""

    lrs = (1e-3, 5e-3)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Unfreeze every parameter whose name ends in bias."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
