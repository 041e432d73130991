"""Efficient probing: many queries, each of which pools its own slice of the channels (Psomas et al. 2025).

    a_j = softmax(Q_j . x / sqrt(width))          over the tokens x as they are; Q: slice x width; one head
    f = [a_1 (x W_V)_1, ..., a_s (x W_V)_s]       W_V: width / divisor x width, its channels in s equal slices
    logits = W BatchNorm(f) + b                   over the rows, without affine

Slice x width + width^2 / divisor numbers, and the classifier. Q is drawn from N(0, 0.02^2). The values are projected
after pooling: slices divide the channels, s <= width / divisor, so that pooling whole tokens (s token width
multiply-adds) is never more than projecting them (token width^2 / divisor).

With `tokens` "patches" the queries attend to the patches alone, as in the published code; the default is all tokens,
CLS included.

As in the code that its published figures came from; its text describes another form. Inferred: W_V from
U(-1/sqrt(n), 1/sqrt(n)), the classifier N(0, 0.01^2), biases zero.

A sweep trains another form by default: `norm` true puts LN(x), without affine, for x, and `scaled` false leaves
the division out. The published recipe is LARS, which moves Q in proportion to its size; AdamW moves every number alike,
and then the division keeps attention flat. The published form reaches 0.60 of gtsrb's test images, this one 0.96
(docs/results/accuracy.md).
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icecore.store import Frozen, LayerSpec

from ..modules.folded import attend, project
from ..modules.initial import classifier, uniform
from ..modules.norms import EPS, moments, normalise
from ..tokens.batch import TokenBatch
from .adapter import Scope
from .layers_and_heads import incompatible_layers
from .optional import AttentionInputs, ShowsAttention


class EfficientConfig(Frozen):
    """The number of queries, one for each slice, the width of the values, and the tokens that the queries attend to."""

    num_slices: int = Field(default=32, ge=1)
    divisor: int = Field(default=1, ge=1)
    norm: bool = False
    scaled: bool = True
    tokens: Literal["all", "patches"] = "all"


class Efficient(ShowsAttention[EfficientConfig]):
    """A stack of efficient probes on one layer."""

    Config = EfficientConfig
    reads = frozenset({"tokens"})
    untrained = ("running_mean", "running_variance")
    query: Tensor
    value_weight: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return high learning rates, which sharpen the attention early, and high weight decays."""
        return {"lr": (1e-2, 3e-2), "weight_decay": (1.0, 3.0), "norm": (True,), "scaled": (False,)}

    @classmethod
    def incompatibility(cls, config: EfficientConfig, scope: Scope) -> str | None:
        """Refuse slices that do not divide the channels, and a layer without patches."""
        width = scope.spec.width
        if width % config.divisor or (width // config.divisor) % config.num_slices:
            return (
                f"{config.num_slices} slices of the width {width} / divisor {config.divisor}: expected equal ones; "
                "choose num_slices and divisor among its divisors"
            )
        return incompatible_layers(scope)

    @classmethod
    def init_parameters(cls, config: EfficientConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one probe, as the docstring of the module says."""
        width = scope.spec.width
        inner = width // config.divisor
        return {
            "query": torch.randn(config.num_slices, width, generator=generator) * 0.02,
            "value_weight": uniform(generator, inner, width),
            "running_mean": torch.zeros(inner),
            "running_variance": torch.ones(inner),
            **classifier(generator, scope.num_outputs, inner),
        }

    def attention_inputs(self, batch: TokenBatch) -> AttentionInputs:
        """Return the tokens and the queries, each with one head."""
        first = 0 if self.config.tokens == "all" else self.scope.spec.num_prefix
        tokens, width = batch.tokens[self.scope.layers[0]][:, first:], self.query.shape[-1]
        query = self.query / math.sqrt(width) if self.config.scaled else self.query
        return AttentionInputs(normalise(tokens) if self.config.norm else tokens, query, 1)

    def _gathered(self, batch: TokenBatch) -> Float[Tensor, "adapter row inner"]:
        """Pool whole tokens with every query, then project each slice of the values from what its query pooled."""
        tokens, queries, _ = self.attention_inputs(batch)
        num_adapters, num_slices, width = queries.shape
        pooled = attend(tokens, queries.flatten(0, 1))  # row, adapter x slice, width
        weights = self.value_weight.view(num_adapters * num_slices, -1, width)
        values = project(pooled.transpose(0, 1), weights)  # adapter x slice, row, inner / slice
        return values.unflatten(0, (num_adapters, num_slices)).transpose(1, 2).flatten(2).float()

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Gather, normalise over the rows, and classify."""
        values = self._gathered(batch)
        running = self.get_buffer("running_mean"), self.get_buffer("running_variance")
        mean, variance = moments(values, *running, self.noise is not None)
        normed = (values - mean[:, None]) * (variance + EPS).rsqrt()[:, None]
        return project(self.drop(normed), self.weight) + self.bias[:, None]
