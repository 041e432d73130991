"""Attention from an adapter's queries to tokens that all adapters share, folded or projected, whichever costs less.

Folded attention costs 2 query head token width multiply-adds per image, and query width^2 after it. Projecting the
tokens costs 2 token width^2, and 2 query token width in the attention. Both are exact, up to rounding.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .folded import attend, fold, project, project_values


def is_folding_cheaper(num_queries: int, num_heads: int, width: int) -> bool:
    """Return whether folding costs less than projecting the tokens, where there are many tokens.

    >>> [is_folding_cheaper(num_queries, num_heads=3, width=192) for num_queries in (1, 200)]
    [True, False]
    """
    return num_queries * (num_heads - 1) < width


class Projections(NamedTuple):
    """The projections of tokens to keys and values, heads side by side; tokens are first scaled by `gamma`."""

    key_weight: Float[Tensor, "adapter width width"]
    value_weight: Float[Tensor, "adapter width width"]
    value_bias: Float[Tensor, "adapter width"]
    num_heads: int
    gamma: Float[Tensor, "adapter width"] | None = None


def cross_attend(
    tokens: Float[Tensor, "row token width"], queries: Float[Tensor, "adapter query width"], to: Projections
) -> Float[Tensor, "adapter row query width"]:
    """Attend with each adapter's queries, folded or projected, whichever costs less; no output projection."""
    is_folded = is_folding_cheaper(queries.shape[1], to.num_heads, queries.shape[2])
    return (attend_folded if is_folded else attend_projected)(tokens, queries, to)


def attend_folded(
    tokens: Float[Tensor, "row token width"], queries: Float[Tensor, "adapter query width"], to: Projections
) -> Float[Tensor, "adapter row query width"]:
    """Attend as `cross_attend`, without projecting any token."""
    folded = fold(queries, to.key_weight, to.num_heads, to.gamma)
    pooled = attend(tokens, folded.flatten(0, 1)).unflatten(1, folded.shape[:2]).transpose(0, 1)
    return project_values(pooled, to.value_weight, to.value_bias, to.num_heads, to.gamma)


def attend_projected(
    tokens: Float[Tensor, "row token width"], queries: Float[Tensor, "adapter query width"], to: Projections
) -> Float[Tensor, "adapter row query width"]:
    """Attend as `cross_attend`, after projecting every token to a key and a value."""
    keys, values = project_tokens(tokens, to)
    return attend_keys(keys, values, queries, to.num_heads) + to.value_bias[:, None, None].to(tokens.dtype)


def project_tokens(
    tokens: Float[Tensor, "row token width"], to: Projections
) -> tuple[Float[Tensor, "stack head token inner"], Float[Tensor, "stack head token inner"]]:
    """Return the keys and values of every token, from one product for all adapters; `stack` is adapter, then row."""
    weights = torch.stack([to.key_weight, to.value_weight])  # 2 adapter width width
    if to.gamma is not None:
        weights = weights * to.gamma[:, None]
    flat = weights.flatten(0, 2)[None]
    shape = (*tokens.shape[:2], 2, weights.shape[1], to.num_heads, -1)
    projected = project(tokens.flatten(0, 1)[None], flat).view(shape)
    keys, values = projected.permute(2, 3, 0, 4, 1, 5).flatten(1, 2).unbind()
    return keys, values


def attend_keys(
    keys: Float[Tensor, "stack head token inner"],
    values: Float[Tensor, "stack head token inner"],
    queries: Float[Tensor, "adapter query width"],
    num_heads: int,
) -> Float[Tensor, "adapter row query width"]:
    """Return softmax(q k^T / sqrt(inner)) v for every query, heads side by side; `stack` is adapter, then row."""
    num_adapters, num_queries, _ = queries.shape
    num_rows = keys.shape[0] // num_adapters
    heads = queries.unflatten(2, (num_heads, -1)).transpose(1, 2)[:, None].expand(-1, num_rows, -1, -1, -1)
    gathered = scaled_dot_product_attention(heads.flatten(0, 1).to(keys.dtype), keys, values)
    return gathered.transpose(1, 2).reshape(num_adapters, num_rows, num_queries, -1)
