"""Learned tokens among those of an image, for one block or for several in a row."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Tokens = Float[Tensor, "batch token width"]


class Prompted(nn.Module):
    """Blocks that see learned tokens after the prefix tokens; what becomes of these is dropped at the end."""

    def __init__(self, blocks: nn.Module, prompts: Float[Tensor, "prompt width"], num_prefix: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.prompts = nn.Parameter(prompts)
        self._num_prefix = num_prefix

    def forward(self, tokens: Tokens) -> Tokens:
        """Return as many tokens as were given."""
        prefix, patches = tokens[:, : self._num_prefix], tokens[:, self._num_prefix :]
        prompts = self.prompts.to(tokens.dtype).expand(len(tokens), -1, -1)
        seen = self.blocks(torch.cat([prefix, prompts, patches], 1))
        return torch.cat([seen[:, : self._num_prefix], seen[:, self._num_prefix + len(self.prompts) :]], 1)


def draw_prompts(model: Any, num_prompts: int, generator: torch.Generator) -> Float[Tensor, "prompt width"]:
    """Draw uniformly from -v to v, v = sqrt(6 / (3 patch^2 + width)), as the released code of VPT does."""
    height, width = model.patch_embed.patch_size
    bound = math.sqrt(6 / (3 * height * width + model.embed_dim))
    return (torch.rand(num_prompts, model.embed_dim, generator=generator) * 2 - 1) * bound
