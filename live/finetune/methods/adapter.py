"""Bottleneck adapters (Houlsby et al. 2019), one a block, after the MLP.

Down ~ N(0, 0.02^2), Up and the biases zero: the outputs are unchanged at the start (the released code of the
KAdaptation baseline draws both, and so starts elsewhere).
"""

from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import relu

from ..bottleneck import add_bottlenecks
from ..method import Method


class Adapter(Method):
    """A dense bottleneck of `hidden` units in every block."""

    lrs = (1e-3, 3e-3)
    merges = False
    hidden: int = Field(default=64, ge=1)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Add a bottleneck to every block."""

        def linear(num_in: int, num_out: int, is_zero: bool) -> nn.Linear:
            layer = nn.Linear(num_in, num_out)
            nn.init.normal_(layer.weight, std=0.0 if is_zero else 0.02, generator=generator)
            nn.init.zeros_(layer.bias)
            return layer

        add_bottlenecks(model, self.hidden, linear, relu)
