"""A small vision transformer of timm with random weights, run live, and what a float32 store would hold of it."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from icecore.extract.backbone.config import blocks_config
from icecore.store import FrozenBackbone, LayerSpec
from icecore.train.adapters.adapter import Scope

WIDTH, NUM_BLOCKS, NUM_HEADS, NUM_CLASSES = 24, 3, 3, 5


class LiveViT(nn.Module):
    """timm's modules, none of which learns; `layers` are those of a store."""

    def __init__(self, img_size: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        shape: dict[str, Any] = {"embed_dim": WIDTH, "depth": NUM_BLOCKS, "num_heads": NUM_HEADS}
        self.vit: Any = timm.create_model("vit_base_patch16_224", img_size=img_size, patch_size=8, **shape).eval()
        for parameter in self.vit.parameters():
            parameter.requires_grad_(False).add_(torch.randn_like(parameter) * 0.15)

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(range(NUM_BLOCKS + 1))

    @property
    def spec(self) -> LayerSpec:
        side = self.vit.patch_embed.grid_size[0]
        return LayerSpec(num_tokens=1 + side**2, width=WIDTH, num_prefix=1, grid=(side, side))

    @property
    def frozen(self) -> FrozenBackbone:
        return FrozenBackbone(blocks_config(self.vit), self.vit.state_dict())

    def scope(self, layers: tuple[int, ...] | None = None, num_outputs: int = NUM_CLASSES) -> Scope:
        layers = layers or self.layers
        return Scope(layers, dict.fromkeys(layers, self.spec), num_outputs, self.frozen)

    def embed(self, images: Tensor) -> Tensor:
        return self.vit.norm_pre(self.vit._pos_embed(self.vit.patch_embed(images)))

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Return the tokens of every layer."""
        tokens = [self.embed(images)]
        for block in self.vit.blocks:
            tokens.append(block(tokens[-1]))
        return dict(enumerate(tokens))

    def with_queries(self, index: int, tokens: Tensor, queries: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run one of timm's blocks on tokens and queries that no token attends to.

        Returns the tokens after it, and the queries after it with what attention and MLP added to them.
        """
        entered: list[Tensor] = []
        block, num_tokens = self.vit.blocks[index], tokens.shape[1]
        num_all = num_tokens + queries.shape[1]
        mask = torch.zeros(num_all, num_all).masked_fill(torch.arange(num_all) >= num_tokens, float("-inf"))
        hook = block.norm2.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
        after = block(torch.cat([tokens, queries], 1), attn_mask=mask)
        hook.remove()
        middle, left = entered[0][:, num_tokens:], after[:, num_tokens:]
        return after[:, :num_tokens], left, middle - queries, left - middle


def images_of(num_rows: int, img_size: int = 32) -> Tensor:
    return torch.randn(num_rows, 3, img_size, img_size, generator=torch.Generator().manual_seed(1))
