"""Transformer blocks that are trained on the tokens of a layer, separately for each adapter.

    x <- x + W_O MHA(LN(x)) + b_O;    x <- x + MLP(LN(x))       MLP: width, 4 width, width, with GELU

As the first blocks of V-JEPA 2's probe: LN with affine and eps 1e-5, biases everywhere. Matrices are drawn from a
truncated normal distribution, W_O and the last of the MLP of block k, from 1 on, divided by sqrt(2 (k + 1)); what is
trained of gamma is its distance from one.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu, scaled_dot_product_attention

from .folded import project
from .norms import normalise

EPS = 1e-5
PREFIX = "block"
EXPANSION = 4
Get = Callable[[str], Tensor]  # a tensor by name, with the `adapter` axis


def draw_blocks(num_blocks: int, width: int, generator: torch.Generator, std: float) -> dict[str, Tensor]:
    """Draw the tensors of `num_blocks` blocks, named `blockK_NAME` from K = 0 on, without the `adapter` axis."""
    wide = EXPANSION * width
    shapes = {"joint": (3 * width, width), "out": (width, width), "expand": (wide, width), "contract": (width, wide)}
    drawn: dict[str, Tensor] = {}
    for block in range(num_blocks):
        for name, shape in shapes.items():
            weight = torch.nn.init.trunc_normal_(torch.empty(shape), std=std, generator=generator)
            share = math.sqrt(2 * (block + 2)) if name in ("out", "contract") else 1.0
            drawn |= {f"{PREFIX}{block}_{name}_weight": weight / share}
            drawn |= {f"{PREFIX}{block}_{name}_bias": torch.zeros(shape[0])}
        for norm in ("first", "second"):
            drawn |= {f"{PREFIX}{block}_{norm}_{name}": torch.zeros(width) for name in ("gain", "beta")}
    return drawn


def affine(get: Get, name: str) -> tuple[Float[Tensor, "adapter width"], Float[Tensor, "adapter width"]]:
    """Return gamma and beta of the norm `name`."""
    return 1 + get(f"{name}_gain"), get(f"{name}_beta")


def linear(get: Get, name: str, inputs: Float[Tensor, "adapter row inputs"]) -> Float[Tensor, "adapter row outputs"]:
    """Apply the linear layer `name`, in the dtype of the inputs."""
    return project(inputs, get(f"{name}_weight")) + get(f"{name}_bias")[:, None].to(inputs.dtype)


def through(
    get: Get, num_blocks: int, tokens: Float[Tensor, "row token width"], num_adapters: int, num_heads: int
) -> Float[Tensor, "adapter row token width"]:
    """Return the output of each adapter's blocks for tokens that all adapters share."""
    x = tokens.expand(num_adapters, *tokens.shape)
    for block in range(num_blocks):
        of_block = _of_block(get, block)
        x = x + _attention(of_block, normed(of_block, "first", x), x.shape[1], num_heads).view(x.shape)
        hidden = gelu(linear(of_block, "expand", normed(of_block, "second", x)))
        x = x + linear(of_block, "contract", hidden).view(x.shape)
    return x


def normed(
    get: Get, name: str, x: Float[Tensor, "adapter row token width"], eps: float = EPS
) -> Float[Tensor, "adapter row_token width"]:
    """Apply the norm `name` to tokens; return the tokens of all rows along one axis."""
    gamma, beta = (tensor[:, None].to(x.dtype) for tensor in affine(get, name))
    return normalise(x, eps).flatten(1, 2) * gamma + beta


def by_head(
    values: Float[Tensor, "adapter row_token width"], num_rows: int, num_heads: int
) -> Float[Tensor, "stack head token inner"]:
    """Split the channels of every token among heads; `stack` is adapter, then row."""
    return values.unflatten(1, (num_rows, -1)).flatten(0, 1).unflatten(-1, (num_heads, -1)).transpose(1, 2)


def _of_block(get: Get, block: int) -> Get:
    return lambda name: get(f"{PREFIX}{block}_{name}")


def _attention(
    get: Get, tokens: Float[Tensor, "adapter row_token width"], num_rows: int, num_heads: int
) -> Float[Tensor, "adapter row_token width"]:
    query, key, value = (by_head(part, num_rows, num_heads) for part in linear(get, "joint", tokens).chunk(3, -1))
    gathered = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)  # adapter x row, token, width
    return linear(get, "out", gathered.unflatten(0, (len(tokens), num_rows)).flatten(1, 2))
