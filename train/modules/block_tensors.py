"""The tensors of a frozen transformer block under one set of names, whichever of timm's layouts the block has.

The module knows how timm's blocks name and pack their projections; nothing of the computation.
"""

from typing import Literal

from torch import Tensor

from icecore.store import Frozen


class BlockFacts(Frozen):
    """The facts about a block that its tensors do not show."""

    num_heads: int
    eps: float
    qk_norm: bool
    attention_norm: bool
    mlp: Literal["plain", "gate_first", "gate_last", "gate_apart"]
    mlp_norm: bool
    activation: Literal["gelu", "gelu_tanh", "quick_gelu", "silu", "relu"]


RENAMED = {
    "norm1": "norm1",
    "attn.q_proj": "query",
    "attn.k_proj": "key",
    "attn.v_proj": "value",
    "attn.q_norm": "query_norm",
    "attn.k_norm": "key_norm",
    "attn.norm": "attention_norm",
    "attn.proj": "out",
    "norm2": "norm2",
    "mlp.fc1": "expand",
    "mlp.fc1_x": "expand",
    "mlp.fc1_g": "gate",
    "mlp.norm": "hidden_norm",
    "mlp.fc2": "contract",
}
SCALES = {"ls1.gamma": "scale1", "gamma_1": "scale1", "ls2.gamma": "scale2", "gamma_2": "scale2"}


def block_tensors(timm_tensors: dict[str, Tensor], facts: BlockFacts) -> dict[str, Tensor]:
    """Return a block's tensors by the values of `RENAMED` and `SCALES`, with packed projections split.

    `timm_tensors` are by timm's names without the prefix of the block.
    """
    named = {SCALES[name]: tensor for name, tensor in timm_tensors.items() if name in SCALES}
    for name, tensor in timm_tensors.items():
        module, _, kind = name.rpartition(".")
        if module in RENAMED:
            named[f"{RENAMED[module]}.{kind}"] = tensor
        elif module == "attn.qkv":
            named |= {f"{part}.{kind}": t for part, t in zip(("query", "key", "value"), tensor.chunk(3), strict=True)}
        elif name in ("attn.q_bias", "attn.v_bias"):  # these families have no key bias
            named["query.bias" if kind == "q_bias" else "value.bias"] = tensor
    if facts.mlp in ("gate_first", "gate_last"):
        parts = ("gate", "expand") if facts.mlp == "gate_first" else ("expand", "gate")
        for kind in ("weight", "bias"):
            if (packed := named.pop(f"expand.{kind}", None)) is not None:
                named |= {f"{part}.{kind}": t for part, t in zip(parts, packed.chunk(2), strict=True)}
    return named
