"""What a plain module must know to run a backbone's blocks without timm."""

from typing import Any

from pydantic import JsonValue
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import SwiGLU
from torch import nn


def blocks_config(model: Any) -> dict[str, JsonValue]:
    """Return the facts about the blocks of a timm vision transformer; their tensors keep timm's names."""
    block = model.blocks[0]
    return {
        "family": "vit",
        "depth": len(model.blocks),
        "num_heads": block.attn.num_heads,
        "width": model.embed_dim,
        "eps": block.norm1.eps,
        "activation": type(getattr(block.mlp, "act", None)).__name__.lower(),
        "num_prefix": model.num_prefix_tokens,
        "mlp": "swiglu" if isinstance(block.mlp, SwiGLU) else "mlp",
        "layer_scale": isinstance(getattr(block, "ls1", None), LayerScale),
        "qk_norm": not isinstance(getattr(block.attn, "q_norm", nn.Identity()), nn.Identity),
        "names": "timm",
    }
