"""Which tokens of a layer are kept; what is lost is said by each reduction."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from icecore.store import LayerSpec, UsageError

Reduce = Callable[[Float[Tensor, "row token width"]], Float[Tensor, "row kept width"]]


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a layer becomes: its shape in the store, and the function that makes it so."""

    spec: LayerSpec
    reduce: Reduce


def reduction(text: str, layer: LayerSpec) -> Reduction:
    """Return the reduction that `all`, `cls` or `pool:K` names, for one layer."""
    pool = re.fullmatch(r"pool:([1-9]\d*)", text)
    if pool:
        return _pool(layer, int(pool[1]))
    if text == "all":
        return _all(layer)
    if text == "cls":
        return _cls(layer)
    raise UsageError(f"tokens {text!r}: unknown; choices: all, cls, pool:K with a whole number K from 1")


def _all(layer: LayerSpec) -> Reduction:
    """Keep every token: nothing is lost."""
    return Reduction(layer, lambda tokens: tokens)


def _cls(layer: LayerSpec) -> Reduction:
    """Keep the first prefix token alone: all that is local is lost, and registers and a distillation token too."""
    if layer.num_prefix == 0:
        raise UsageError("tokens 'cls': this backbone has no prefix token; choose all or pool:K")
    spec = LayerSpec(num_tokens=1, width=layer.width, num_prefix=1, grid=None)
    return Reduction(spec, lambda tokens: tokens[:, :1])


def _pool(layer: LayerSpec, size: int) -> Reduction:
    """Keep every prefix token and the mean of each `size` x `size` square of patches: detail within a square is lost.

    Where `size` does not divide the grid, the squares at the right and lower border are the patches that are there.
    """
    if layer.grid is None:
        raise UsageError(f"tokens 'pool:{size}': this backbone has no grid of patches; choose all or cls")
    prefix, (height, width) = layer.num_prefix, layer.grid
    pooled = (-(-height // size), -(-width // size))
    spec = layer.model_copy(update={"num_tokens": prefix + pooled[0] * pooled[1], "grid": pooled})

    def reduce(tokens: Float[Tensor, "row token width"]) -> Float[Tensor, "row kept width"]:
        patches = tokens[:, prefix:].float().transpose(1, 2).unflatten(2, (height, width))  # row width height width
        means = avg_pool2d(patches, size, ceil_mode=True, count_include_pad=False).flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, :prefix], means.to(tokens.dtype)], dim=1)

    return Reduction(spec, reduce)
