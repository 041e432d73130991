"""SynQT: queries synthesised for each image, block after block, from the block before (arXiv 2407.06964).

Of block l, with T learned vectors P_l, summaries s of the queries that left the block before, frozen weights in F:

    p = P_l + gamma s_{l-1}                       one gamma for all blocks; no s before the first
    p = A(p)                                      A(y) = y + Drop(W2 Drop(GELU(W1 y + b1)) + b2), 48 wide
    r = LN(p);  q = A8(LN_q r), k = A8(LN_kv r), v = A8(LN_kv r)        8 wide, without dropout
    p = p + alpha_l Drop(A8(Drop(softmax(q k^T / sqrt(width))) v))      one head, the T queries among themselves
    p = Drop(p + beta_l A(LN p))
    h = F: W_O MHA(W_Q LN1(p), W_K LN1(x_{l-1}), W_V LN1(x_{l-1})) + b_O;     p = p + h
    g = F: MLP(LN2(p));     p = p + g;     s_l, h_l, g_l = means of p, h, g over the T queries

    f = [s_L, s_1..s_L, h_1..h_L, g_1..g_L], 3 L + 1 vectors;  f_i = f_i + A(LN f_i), shared
    logits = W LN_h(mean_i w_i f_i) + b,    w_0 = 1,  w_i = tanh(Drop(GELU(W_w f_0 + b_w)))

P is drawn from U(-1, 1), linear layers as PyTorch does, LN_h is the backbone's final norm at first (with eps 1e-5 as
all norms here). Dropout is 0.1; a whole f_i, i > 0, is dropped with 0.3. No DropPath in the frozen part, whose inputs
are cached. Queries are each image's own, so that folding them costs the square of the width each: they are folded
where that is the cheaper way to count (`folding_pays`). The deepest layer itself is not looked at.

Inferred: that f_i is dropped whole, after its A; all of the weights' decay, as AdamW's.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from icecore.store import Frozen, LayerSpec

from ..modules.folded import attend, folding_pays, project
from ..modules.frozen_block import FrozenBlock
from ..modules.initial import uniform
from ..tokens.batch import TokenBatch
from .adapter import Scope
from .through_blocks import ThroughBlocks

DROPOUT, FEATURE_DROPOUT = 0.1, 0.3
WIDE, NARROW = 48, 8  # hidden widths of the bottlenecks
BLOCK_BOTTLENECKS = {"enter": WIDE, "query": NARROW, "key": NARROW, "value": NARROW, "out": NARROW, "leave": WIDE}
BLOCK_NORMS = ("self_norm", "query_norm", "key_norm", "leave_norm")

Queries = Float[Tensor, "adapter row query width"]


class SynQTConfig(Frozen):
    """The number of queries of a block, and the initial values of the gates: 0.1 or 1 in the paper, by data set.

    With gamma 1 the queries of a block start from the summary of the block before: 85 instead of 67 % on traffic signs.
    """

    num_queries: int = Field(default=4, ge=1)
    alpha: float = 0.1
    beta: float = 0.1
    gamma: float = 1.0


class SynQT(ThroughBlocks[SynQTConfig]):
    """A stack of SynQT adapters on all layers."""

    Config = SynQTConfig
    reads = frozenset({"normalised"})
    prompt: Tensor
    alpha: Tensor
    beta: Tensor
    gamma: Tensor
    mix_weight: Tensor
    mix_bias: Tensor
    final_norm_gamma: Tensor
    final_norm_beta: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return the learning rates and weight decays that suit the family."""
        return {"lr": (1e-3, 3e-3), "weight_decay": (0.01,)}

    @classmethod
    def init_parameters(cls, config: SynQTConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one adapter, as the docstring of the module says."""
        width, num_blocks = scope.spec.width, len(scope.layers) - 1
        drawn = {
            "prompt": torch.rand(num_blocks, config.num_queries, width, generator=generator) * 2 - 1,
            "alpha": torch.full((num_blocks,), config.alpha),
            "beta": torch.full((num_blocks,), config.beta),
            "gamma": torch.tensor(config.gamma),
        }
        for name, hidden in BLOCK_BOTTLENECKS.items():
            drawn |= _bottleneck(name, (num_blocks,), hidden, width, generator)
        for name in BLOCK_NORMS:
            drawn |= _norm(name, (num_blocks, width))
        drawn |= _bottleneck("head", (), WIDE, width, generator) | _norm("head_norm", (width,))
        drawn |= _linear("mix_", (), 3 * num_blocks, width, generator)
        drawn |= {
            "final_norm_gamma": scope.frozen["norm.weight"].float(),
            "final_norm_beta": scope.frozen["norm.bias"].float(),
        }
        return drawn | _linear("", (), scope.num_outputs, width, generator)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Synthesise queries and attend with them, block after block; classify a gated mean of the summaries."""
        summaries = list(self.summaries(batch))  # of each block: s, h, g
        last = summaries[-1][0]
        features = torch.stack([last, *(vector for kind in zip(*summaries, strict=True) for vector in kind)], 2)
        features = features + self._through("head", self._normed("head_norm", features), DROPOUT)
        first, rest = features[:, :, :1], features[:, :, 1:]
        gates = project(first[:, :, 0], self.mix_weight) + self.mix_bias[:, None]
        gates = torch.tanh(self.drop(gelu(gates), DROPOUT))
        gates = self.drop(gates, FEATURE_DROPOUT)  # dropping the gate of a vector drops the whole vector
        mean = (first[:, :, 0] + (gates[:, :, None] @ rest)[:, :, 0]) / features.shape[2]
        normed = self._normed("final_norm", mean[:, :, None])[:, :, 0]
        return project(self.drop(normed), self.weight) + self.bias[:, None]

    def summaries(self, batch: TokenBatch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield for each block the means over queries of the output, the attention branch and the MLP branch."""
        summary: Tensor | None = None
        for block_index, (layer, block) in enumerate(zip(self.inputs, self.blocks, strict=True)):
            tokens = batch.normalised[layer]
            queries = self.prompt[:, block_index, None].expand(-1, tokens.shape[0], -1, -1)
            if summary is not None:
                queries = queries + self.gamma[:, None, None, None] * summary[:, :, None]
            queries = self._synthesised(queries, block_index)
            attended = _attend(block, queries, tokens)
            middle = queries + attended
            mlp = block.mlp(middle)
            summary = (middle + mlp).mean(2)
            yield summary, attended.mean(2), mlp.mean(2)

    def _synthesised(self, queries: Queries, block_index: int) -> Queries:
        """Return the queries of a block after self-attention among them."""
        alpha, beta = (gate[:, block_index, None, None, None] for gate in (self.alpha, self.beta))
        queries = self._through("enter", queries, DROPOUT, block_index)
        normed = self._normed("self_norm", queries, block_index)
        query_input, key_input = (
            self._normed("query_norm", normed, block_index),
            self._normed("key_norm", normed, block_index),
        )
        query = self._through("query", query_input, 0.0, block_index)
        key, value = (self._through(name, key_input, 0.0, block_index) for name in ("key", "value"))
        attention = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), -1)
        mixed = self._through("out", self.drop(attention, DROPOUT) @ value, 0.0, block_index)
        queries = queries + alpha * self.drop(mixed, DROPOUT)
        queries = queries + beta * self._through(
            "leave", self._normed("leave_norm", queries, block_index), DROPOUT, block_index
        )
        return self.drop(queries, DROPOUT)

    def _through(self, name: str, values: Queries, rate: float, block_index: int | None = None) -> Queries:
        """Apply a residual bottleneck, A in the formula, of a block or, if `block_index` is None, of the head."""
        down, down_bias, up, up_bias = (
            tensor if block_index is None else tensor[:, block_index]
            for tensor in (
                getattr(self, f"{name}_{part}") for part in ("down_weight", "down_bias", "up_weight", "up_bias")
            )
        )
        hidden = gelu(project(values.flatten(1, 2), down) + down_bias[:, None])
        added = self.drop(project(self.drop(hidden, rate), up) + up_bias[:, None], rate)
        return values + added.view_as(values)

    def _normed(self, name: str, values: Queries, block_index: int | None = None) -> Queries:
        gamma, beta = (getattr(self, f"{name}_{part}") for part in ("gamma", "beta"))
        if block_index is not None:
            gamma, beta = gamma[:, block_index], beta[:, block_index]
        return layer_norm(values, values.shape[-1:]) * gamma[:, None, None] + beta[:, None, None]


def _attend(block: FrozenBlock, queries: Queries, tokens: Float[Tensor, "row token width"]) -> Queries:
    """Return the attention branch of each image's own queries, folded or projected, whichever costs less."""
    num_adapters, _, num_queries, width = queries.shape
    size = (num_adapters * num_queries, tokens.shape[1], width, block.facts.num_heads)
    if block.can_fold and folding_pays(*size):
        folded = block.fold(queries).transpose(0, 1)  # row adapter folded width
        pooled = attend(tokens, folded.flatten(1, 2))
        return block.gathered(pooled.view_as(folded).transpose(0, 1))
    attended = block.attend(queries.transpose(0, 1).flatten(1, 2), tokens)
    return attended.unflatten(1, (num_adapters, num_queries)).transpose(0, 1)


def _linear(
    prefix: str, blocks: tuple[int, ...], outputs: int, inputs: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw a linear layer for every block, as `torch.nn.Linear` does."""
    shapes = {f"{prefix}weight": (*blocks, outputs, inputs), f"{prefix}bias": (*blocks, outputs)}
    return {name: uniform(generator, *shape, bound=1 / math.sqrt(inputs)) for name, shape in shapes.items()}


def _bottleneck(
    name: str, blocks: tuple[int, ...], hidden: int, width: int, generator: torch.Generator
) -> dict[str, Tensor]:
    down = _linear(f"{name}_down_", blocks, hidden, width, generator)
    return down | _linear(f"{name}_up_", blocks, width, hidden, generator)


def _norm(name: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    return {f"{name}_gamma": torch.ones(shape), f"{name}_beta": torch.zeros(shape)}
