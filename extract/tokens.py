"""Which layers and which of their tokens a store keeps: `--layers` and `--tokens`."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from icecore.store import LayerSpec, UsageError, parse_layer_list

Reduce = Callable[[Float[Tensor, "row token width"]], Float[Tensor, "row kept width"]]


@dataclass(frozen=True, slots=True)
class Reduction:
    """The shape of a layer in the store, and the function that reduces the backbone's tokens to that shape."""

    spec: LayerSpec
    reduce: Reduce


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Return the layers that `all`, `sum` or a list such as `0,3,6-12` names, ascending, each once.

    >>> parse_layers("6-8,0", num_layers=12)
    (0, 6, 7, 8)

    The backbone has layers 0 to `num_layers`. In a plain vision transformer layer 0 is the input of block 1 and layer k
    the output of block k; in other models layer k is timm's intermediate k, counted from 0. `sum` is the sum of layers
    1 to `num_layers`; it is the number `SUM`, which sorts last.

    Raises:
        UsageError: a part cannot be read, a range counts down, or the backbone lacks a layer.
    """
    has = f"the backbone has layers 0 to {num_layers}"
    return tuple(sorted({*parse_layer_list(text, range(num_layers + 1), has=has, can_sum=True)}))


def reduction(text: str, layer: LayerSpec) -> Reduction:
    """Return the reduction that `all`, `cls` or `pool:K` names, for a layer of the given shape.

    >>> reduction("pool:2", LayerSpec(num_tokens=197, width=192, num_prefix=1, grid=(14, 14))).spec.num_tokens
    50

    Raises:
        UsageError: the text names no reduction, or the layer lacks prefix tokens (`cls`) or a grid (`pool:K`).
    """
    pool = re.fullmatch(r"pool:([1-9]\d*)", text)
    if pool:
        return _pool(layer, int(pool[1]))
    if text == "all":
        return _all(layer)
    if text == "cls":
        return _cls(layer)
    raise UsageError(f"tokens {text!r}: unknown; choices: all, cls, pool:K with a whole number K from 1")


def _all(layer: LayerSpec) -> Reduction:
    """Keep every token; lossless."""
    return Reduction(layer, lambda tokens: tokens)


def _cls(layer: LayerSpec) -> Reduction:
    """Keep the first prefix token alone; patches, registers and a distillation token are lost."""
    if layer.num_prefix == 0:
        raise UsageError("tokens 'cls': this backbone has no prefix token; choose all or pool:K")
    spec = LayerSpec(num_tokens=1, width=layer.width, num_prefix=1, grid=None)
    return Reduction(spec, lambda tokens: tokens[:, :1])


def _pool(layer: LayerSpec, size: int) -> Reduction:
    """Keep every prefix token and the mean of each `size` x `size` square of patches; detail within a square is lost.

    Where `size` does not divide the grid, the squares at the right and lower border are smaller.
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
