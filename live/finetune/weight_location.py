"""Where the named weights of a transformer block lie in timm's modules; imports no PyTorch, so that help is quick."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightLocation:
    """A weight of a block: the module that holds it and, in a packed projection, which of its equal row ranges."""

    module: str
    part: int = 0
    num_parts: int = 1


SUBMODULES: dict[str, WeightLocation] = {
    "query": WeightLocation("attn.qkv", part=0, num_parts=3),
    "key": WeightLocation("attn.qkv", part=1, num_parts=3),
    "value": WeightLocation("attn.qkv", part=2, num_parts=3),
    "projection": WeightLocation("attn.proj"),
    "fc1": WeightLocation("mlp.fc1"),
    "fc2": WeightLocation("mlp.fc2"),
}
