"""Describes the blocks of a backbone so that they can be rebuilt without timm, or says why they cannot."""

from typing import Any

import torch
from pydantic import JsonValue
from timm.layers.attention import Attention, AttentionRope
from timm.layers.layer_scale import LayerScale
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.models import beit, eva, vision_transformer
from torch import Tensor, nn

from .blocks import is_plain

BLOCKS = (vision_transformer.Block, beit.Block, eva.EvaBlock)
ATTENTIONS = (Attention, AttentionRope, beit.Attention, eva.EvaAttention)
MLPS = (Mlp, GluMlp, SwiGLU)
ACTIVATIONS = {
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "QuickGELU": "quick_gelu",
    "SiLU": "silu",
    "ReLU": "relu",
}


def blocks_config(model: Any) -> dict[str, JsonValue]:
    """Return the description of the blocks of a timm model, as JSON.

    `rebuild` holds the properties of a block that its tensors do not show (heads, norms, activation), or is None where
    a plain module cannot rebuild it; `why_not` then has the reason. `eps` is that of the LayerNorms. `names` is the
    naming of the tensors in `frozen_tensors`.
    """
    blocks = list(getattr(model, "blocks", None) or ())
    why_not = _why_not(model, blocks)
    facts = None if why_not else _facts(blocks[0])
    return {"depth": len(blocks), "eps": _eps(model, blocks), "names": "timm", "rebuild": facts, "why_not": why_not}


def frozen_tensors(model: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the tensors of the blocks in the compute type, if they can be rebuilt, and the final norm in float32."""
    state = model.state_dict()
    prefixes = () if _why_not(model, list(getattr(model, "blocks", None) or ())) else ("blocks.",)
    blocks = {name: tensor.to(dtype) for name, tensor in state.items() if name.startswith(prefixes)}
    norm = getattr(model, "norm", None)
    if not isinstance(norm, nn.LayerNorm) or norm.weight is None or norm.bias is None:
        return blocks
    return blocks | {f"norm.{name}": tensor.clone() for name, tensor in norm.state_dict().items()}


def _eps(model: Any, blocks: list[Any]) -> float:
    """Return the eps of the first LayerNorm, in the blocks or else in the model; without any 1e-6, timm's default."""
    norms = [module for part in (*blocks, model) for module in part.modules() if isinstance(module, nn.LayerNorm)]
    return float(norms[0].eps) if norms else 1e-6


def _why_not(model: Any, blocks: list[Any]) -> str | None:
    if not is_plain(model):
        return f"{type(model).__name__} is no plain sequence of transformer blocks"
    if getattr(model, "rope", None) is not None:
        return "rotary positions in attention"
    if getattr(model, "rel_pos_bias", None) is not None:
        return "relative positions in attention"
    if reason := next(filter(None, map(_why_not_block, blocks)), None):
        return reason
    return "blocks that differ from each other" if any(_facts(b) != _facts(blocks[0]) for b in blocks) else None


def _why_not_block(block: Any) -> str | None:
    if type(block) not in BLOCKS:
        return f"blocks of another kind ({type(block).__name__})"
    attention, mlp = block.attn, block.mlp
    for part, known in ((attention, ATTENTIONS), (mlp, MLPS)):
        if type(part) not in known:
            return f"blocks of another kind ({type(part).__name__})"
    if getattr(attention, "relative_position_bias_table", None) is not None:
        return "relative positions in attention"
    if getattr(attention, "gate", None) is not None:
        return "gated attention"
    if getattr(attention, "num_kv_groups", 1) > 1:
        return "queries that share keys"
    if _activation(mlp) is None:
        return f"activation {_name(mlp.act)}"
    norms = [norm for norm in _norms(block).values() if not isinstance(norm, nn.Identity)]
    if others := [norm for norm in norms if not isinstance(norm, nn.LayerNorm)]:
        return f"norms of another kind ({type(others[0]).__name__})"
    if len({norm.eps for norm in norms}) > 1:
        return "norms of different eps"
    scales = [scale for scale in (getattr(block, name, None) for name in ("ls1", "ls2")) if scale is not None]
    if others := [scale for scale in scales if not isinstance(scale, LayerScale | nn.Identity)]:
        return f"scales of another kind ({type(others[0]).__name__})"
    return None


def _norms(block: Any) -> dict[str, Any]:
    attention, nothing = block.attn, nn.Identity()
    return {
        "norm1": block.norm1,
        "norm2": block.norm2,
        "query": getattr(attention, "q_norm", nothing),
        "key": getattr(attention, "k_norm", nothing),
        "attention": getattr(attention, "norm", nothing),
        "mlp": block.mlp.norm,
    }


def _facts(block: Any) -> dict[str, JsonValue]:
    """Return the properties that `FrozenBlock` needs beside the tensors."""
    present = {name: not isinstance(norm, nn.Identity) for name, norm in _norms(block).items()}
    return {
        "num_heads": block.attn.num_heads,
        "eps": block.norm1.eps,
        "qk_norm": present["query"],
        "attention_norm": present["attention"],
        "mlp": _mlp(block.mlp),
        "mlp_norm": present["mlp"],
        "activation": _activation(block.mlp),
    }


def _mlp(mlp: Any) -> str:
    """Return the kind of MLP: plain, or gated with the gate in the first or last half or in a layer of its own."""
    if isinstance(mlp, GluMlp):
        return "gate_last" if mlp.gate_last else "gate_first"
    return "gate_apart" if isinstance(mlp, SwiGLU) else "plain"


def _activation(mlp: Any) -> str | None:
    return "gelu_tanh" if getattr(mlp.act, "approximate", "none") == "tanh" else ACTIVATIONS.get(_name(mlp.act))


def _name(module: nn.Module) -> str:
    return type(module).__name__
