"""VPT-deep (Jia et al. 2022): every block has its own learned tokens, removed from its output."""

from typing import Any

import torch
from pydantic import Field
from torch import nn

from ..method import Method
from ..prompted import Prompted, draw_prompts


class VPTDeep(Method):
    """Insert `num_prompts` learned tokens into the input of each block."""

    lrs = (3e-3, 1e-2)
    merges = False
    num_prompts: int = Field(default=10, ge=1)

    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Wrap each block so that its input contains its prompts."""
        model.blocks = nn.Sequential(
            *(
                Prompted(block, draw_prompts(model, self.num_prompts, generator), model.num_prefix_tokens)
                for block in model.blocks
            )
        )
