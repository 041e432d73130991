"""Learned prompt tokens inserted among the tokens of an image, for one block or for several blocks in a row."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

Tokens = Float[Tensor, "batch token width"]


class Prompted(nn.Module):
    """Blocks whose input has `prompts` inserted after the prefix tokens; the prompts are removed from the output."""

    def __init__(self, blocks: nn.Module, prompts: Float[Tensor, "prompt width"], num_prefix: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.prompts = nn.Parameter(prompts)
        self._num_prefix = num_prefix

    def forward(self, tokens: Tokens) -> Tokens:
        """Return the blocks' output for the given tokens alone."""
        prefix, patches = tokens[:, : self._num_prefix], tokens[:, self._num_prefix :]
        prompts = self.prompts.to(tokens.dtype).expand(len(tokens), -1, -1)
        outputs = self.blocks(torch.cat([prefix, prompts, patches], 1))
        return torch.cat([outputs[:, : self._num_prefix], outputs[:, self._num_prefix + len(self.prompts) :]], 1)


def draw_prompts(model: Any, num_prompts: int, generator: torch.Generator) -> Float[Tensor, "prompt width"]:
    """Draw prompts from U(-v, v), v = sqrt(6 / (3 patch^2 + width)), as the released code of VPT does."""
    height, width = model.patch_embed.patch_size
    bound = math.sqrt(6 / (3 * height * width + model.embed_dim))
    return (torch.rand(num_prompts, model.embed_dim, generator=generator) * 2 - 1) * bound
