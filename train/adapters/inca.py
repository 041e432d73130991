"""InCA: one cross-attention from learned queries to the tokens of a layer, then a classifier (arXiv 2303.04105).

    q = W_Q Q + b_Q                    queries Q: query x width
    e = W_O MHA(q, LN_in(x), LN_in(x)) + b_O        heads of width / num_heads, 1/sqrt(d), all tokens, no residual
    logits = W mean_query(LN_out(e)) + b

Inferred, for want of public code: the norms' place, the mean over queries, the initialisation (queries N(0, 0.02^2),
projections Xavier-uniform, classifier N(0, 0.01^2), biases zero). LN_in has no affine unless `input_affine`: W_K and
W_V can absorb one; its gamma is trained as the distance from one, which may decay. There is no key bias: it shifts all
logits of a query alike, and the softmax removes it. With `tokens` "patches" the queries attend to the patches alone.
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import layer_norm

from icecore.store import LayerSpec

from ..modules.folded import attend, fold, project, project_values
from ..modules.initial import classifier, xavier
from ..tokens.batch import TokenBatch
from .adapter import Scope
from .layers_and_heads import HeadsConfig, WithHeads, incompatible_layers
from .optional import AttentionInputs


class InCAConfig(HeadsConfig):
    """Number of queries, affine of the input norm, and the tokens that the queries attend to."""

    num_queries: int = Field(default=1, ge=1)
    input_affine: bool = False
    tokens: Literal["all", "patches"] = "all"


class InCA(WithHeads[InCAConfig]):
    """A stack of InCA adapters on one layer."""

    Config = InCAConfig
    reads = frozenset({"normalised"})
    query: Tensor
    query_weight: Tensor
    query_bias: Tensor
    key_weight: Tensor
    value_weight: Tensor
    value_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor
    out_gamma: Tensor
    out_beta: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return high weight decays: 150,000 parameters overfit a few hundred images (docs/results/accuracy.md)."""
        return {"lr": (1e-3, 3e-3), "weight_decay": (0.3, 3.0)}

    @classmethod
    def incompatibility(cls, config: InCAConfig, scope: Scope) -> str | None:
        """Refuse heads that do not divide the width, and a layer without patches if the queries need patches."""
        return super().incompatibility(config, scope) or incompatible_layers(
            scope, needs_patches=config.tokens == "patches"
        )

    @classmethod
    def init_parameters(cls, config: InCAConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one adapter, as the docstring of the module says."""
        width = scope.spec.width
        drawn = {"query": torch.randn(config.num_queries, width, generator=generator) * 0.02}
        drawn |= {f"{name}_weight": xavier(generator, width) for name in ("query", "key", "value", "out")}
        if config.input_affine:
            drawn |= {"input_gain": torch.zeros(width), "input_beta": torch.zeros(width)}
        drawn |= {f"{name}_bias": torch.zeros(width) for name in ("query", "value", "out")}
        drawn |= {"out_gamma": torch.ones(width), "out_beta": torch.zeros(width)}
        return drawn | classifier(generator, scope.num_outputs, width)

    @property
    def _gamma(self) -> Tensor | None:
        return 1 + self.get_parameter("input_gain") if self.config.input_affine else None

    @property
    def _beta(self) -> Tensor | None:
        return self.get_parameter("input_beta") if self.config.input_affine else None

    def queries(self) -> dict[int, Float[Tensor, "adapter folded width"]]:
        """Return the folded queries if they attend to all tokens; patches alone are attended to in `forward`."""
        return {self.scope.layers[0]: self._folded()} if self.config.tokens == "all" else {}

    def _folded(self) -> Float[Tensor, "adapter folded width"]:
        """Project the queries and fold the keys into them."""
        projected = project(self.query, self.query_weight) + self.query_bias[:, None]
        return fold(projected, self.key_weight, self.num_heads, self._gamma)

    def attention_inputs(self, batch: TokenBatch) -> AttentionInputs:
        """Return the normalised tokens, or the patches alone, and the folded queries."""
        first = 0 if self.config.tokens == "all" else self.scope.spec.num_prefix
        return AttentionInputs(batch.normalised[self.scope.layers[0]][:, first:], self._folded(), self.num_heads)

    def _pooled(self, batch: TokenBatch) -> Float[Tensor, "adapter row folded width"]:
        if self.config.tokens == "all":
            return batch.pooled[self.scope.layers[0]]
        patches, folded, _ = self.attention_inputs(batch)
        return attend(patches, folded.flatten(0, 1)).unflatten(1, folded.shape[:2]).transpose(0, 1)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Project the pooled tokens to values, normalise, average over the queries, and classify."""
        pooled = self._pooled(batch)
        heads = (self.num_heads, self._gamma, self._beta)
        values = project_values(pooled, self.value_weight, self.value_bias, *heads)
        num_adapters, num_rows, num_queries, width = values.shape
        out = project(values.flatten(1, 2), self.out_weight).float() + self.out_bias[:, None]
        out = layer_norm(out, (width,)).view(num_adapters, num_rows, num_queries, width)
        out = out.mean(2) if num_queries > 1 else out[:, :, 0]
        weight = self.weight * self.out_gamma[:, None]  # the affine joins the classifier: the same, without the rows
        bias = self.bias + (self.weight @ self.out_beta[..., None])[..., 0]
        return project(self.drop(out), weight) + bias[:, None]
