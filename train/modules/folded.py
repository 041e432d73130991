"""Attention from learned queries to cached tokens, without ever projecting a token.

With z a normalised token, gamma and beta the affine of the adapter's input norm, per head h of width d:

    logit[q, t]  = (W_K,h diag(gamma))^T q_h / sqrt(d) . z_t  + const(q)
    pooled[q, h] = sum_t softmax(logit)[q, t] z_t
    value[q, h]  = W_V,h (gamma * pooled[q, h] + beta) + b_V,h

The constant holds the key bias and beta; the softmax removes it. Values are projected after pooling, since the weights
of a query sum to one. The result is exact, up to rounding.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def fold(
    queries: Float[Tensor, "adapter query width"],
    key_weight: Float[Tensor, "adapter width width"],
    num_heads: int,
    gamma: Float[Tensor, "adapter width"] | None = None,
) -> Float[Tensor, "adapter folded width"]:
    """Multiply the key projection of every head into the queries, divided by the square root of the head's width.

    `queries` are projected already; `folded` is query-major, then head.

    >>> fold(torch.randn(2, 1, 192), torch.randn(2, 192, 192), num_heads=3).shape
    torch.Size([2, 3, 192])
    """
    num_adapters, num_queries, width = queries.shape
    head_width = width // num_heads
    heads = queries.view(num_adapters, num_queries, num_heads, head_width).transpose(1, 2)
    keys = key_weight.view(num_adapters, num_heads, head_width, width)
    folded = (heads @ keys).transpose(1, 2).reshape(num_adapters, num_queries * num_heads, width)
    folded = folded / math.sqrt(head_width)
    return folded if gamma is None else folded * gamma[:, None]


def attend(
    tokens: Float[Tensor, "row token width"], folded: Float[Tensor, "*row folded width"]
) -> Float[Tensor, "row folded width"]:
    """Return the attention-weighted mean of the tokens for every row and folded query, of all adapters at once.

    The queries are shared by all rows, or each row has its own. Products run in the tokens' dtype; in bfloat16 the
    softmax still sums in float32. Tokens get no gradient, so that autograd keeps only the attention weights.
    """
    num_rows = tokens.shape[0]  # not len(): where this is traced, it is a symbol and stays one
    queries = folded.to(tokens.dtype).expand(num_rows, -1, -1)
    logits = torch.bmm(queries, tokens.transpose(1, 2))  # row, folded, token: the softmax runs along memory
    return torch.bmm(torch.softmax(logits, -1), tokens)


def folding_pays(num_queries: int, num_tokens: int, width: int, num_heads: int) -> bool:
    """Return whether folding costs less in a training step where each row has its own queries and no weight is trained.

    Multiply-adds, forward and backward: folding a query and projecting its values after pooling costs 4 width^2, logits
    and pooling cost 4 num_heads num_tokens width. Projecting keys and values of all tokens costs 2 num_tokens width^2
    once, and each query then 7 num_tokens width.
    """
    folded = 4 * num_queries * (width + num_heads * num_tokens)
    return folded < num_tokens * (2 * width + 7 * num_queries)


def project_values(
    pooled: Float[Tensor, "adapter row folded width"],
    weight: Float[Tensor, "adapter width width"],
    bias: Float[Tensor, "adapter width"],
    num_heads: int,
    gamma: Float[Tensor, "adapter width"] | None = None,
    beta: Float[Tensor, "adapter width"] | None = None,
) -> Float[Tensor, "adapter row query width"]:
    """Project the pooled tokens of every head to values, heads side by side; in the dtype of `pooled`."""
    num_adapters, num_rows, num_folded, width = pooled.shape
    num_queries = num_folded // num_heads
    if gamma is not None:
        bias = bias if beta is None else bias + (weight @ beta[..., None])[..., 0]
        weight = weight * gamma[:, None]
    by_head = pooled.unflatten(2, (num_queries, num_heads)).permute(0, 3, 1, 2, 4)
    weights = weight.view(num_adapters * num_heads, width // num_heads, width)
    values = project(by_head.reshape(num_adapters * num_heads, num_rows * num_queries, width), weights)
    joined = values.view(num_adapters, num_heads, num_rows, num_queries, -1).permute(0, 2, 3, 1, 4).flatten(3)
    return joined + bias[:, None, None].to(joined.dtype)


class _Project(torch.autograd.Function):
    """A batched product with a contiguous weight gradient; `torch.matmul` gives a transpose, which is slow to copy."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        cast = weight.to(inputs.dtype)
        ctx.save_for_backward(inputs, cast)
        ctx.dtype = weight.dtype
        return torch.bmm(inputs, cast.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor]:
        inputs, cast = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_inputs = torch.bmm(gradient, cast) if ctx.needs_input_grad[0] else None
        transposed = gradient.transpose(1, 2)
        to_weight = (
            transposed * inputs if inputs.shape[1] == 1 else torch.bmm(transposed, inputs)
        )  # one row: a third of the time
        return to_inputs, to_weight.to(ctx.dtype)


def project(
    inputs: Float[Tensor, "stack row inputs"], weight: Float[Tensor, "stack outputs inputs"]
) -> Float[Tensor, "stack row outputs"]:
    """Return `inputs @ weight^T` for each element of the stack, in the dtype of the inputs."""
    return _Project.apply(inputs.contiguous(), weight)  # pyright: ignore[reportReturnType]
