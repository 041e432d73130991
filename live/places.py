"""Where the weights of a transformer's block are, by name: timm's packed projections, and nothing of PyTorch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A weight of a block: the module that holds it, and which of its equal parts, by rows, is meant."""

    module: str
    part: int = 0
    num_parts: int = 1


SUBMODULES: dict[str, Place] = {
    "query": Place("attn.qkv", 0, 3),
    "key": Place("attn.qkv", 1, 3),
    "value": Place("attn.qkv", 2, 3),
    "projection": Place("attn.proj"),
    "fc1": Place("mlp.fc1"),
    "fc2": Place("mlp.fc2"),
}
