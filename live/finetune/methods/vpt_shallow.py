"""VPT-shallow (Jia et al. 2022): learned tokens enter the first block and pass through all blocks."""

from typing import Any

import torch
from pydantic import Field
from torch import nn

from ..method import Method
from ..prompted import Prompted, draw_prompts


class VPTShallow(Method):
    """Insert `num_prompts` learned tokens before the first block."""

    lrs = (3e-3, 1e-2)
    merges = False
    num_prompts: int = Field(default=10, ge=1)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Wrap all blocks so that the first block's input contains the prompts."""
        prompts = draw_prompts(model, self.num_prompts, generator)
        model.blocks = nn.Sequential(Prompted(model.blocks, prompts, model.num_prefix_tokens))
