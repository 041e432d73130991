"""Open-InCA: InCA with one query per class and a diagonal classifier (arXiv 2303.04105).

    q = W_Q Q + b_Q                    queries Q: class x width
    E = W_O MHA(q, LN_in(x), LN_in(x)) + b_O        one vector a class; queries do not see each other
    logit_c = <w_c, LN(E_c)> + b_c     W: class x width, the affine of LN in W

A class is 2 width + 1 parameters: its rows of Q, W and b, so that classes can be added and removed. No logit
depends on another class: outside of training classes are computed in tiles of one fixed shape, so that adding or
removing classes leaves every other logit bit-identical. In training the attention
is folded while classes (heads - 1) < width; beyond, it projects the tokens.

With `scale` s a logit is s cos(w_c, LN(E_c)) + b_c: classes that were trained at different times then have comparable
logits (`icecore.train.sweep.extend`).

Recommended: `scale` 8 (docs/results/open_inca.md, docs/results/accuracy.md).

Inferred: all but the query a class and the diagonal classifier; initialised as InCA, W from N(0, 0.01^2).
"""

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import layer_norm, normalize, pad

from icecore.store import LayerSpec

from ..modules.cross_attention import Projections, attend_keys, attend_projected, is_folding_cheaper, project_tokens
from ..modules.folded import fold, project, project_values
from ..modules.initial import classifier, xavier
from ..tokens.batch import TokenBatch
from .adapter import Scope
from .layers_and_heads import HeadsConfig, WithHeads
from .optional import AttentionInputs

TILE = 16  # classes computed at a time outside of training
PER_CLASS = ("query", "weight", "bias")  # the tensors with a row per class
SHARED = (*(f"{name}_weight" for name in ("query", "key", "value", "out")), "query_bias", "value_bias", "out_bias")


class OpenInCAConfig(HeadsConfig):
    """The number of heads, and the scale of the logits; None leaves the logits unscaled."""

    scale: float | None = Field(default=None, gt=0)
    extends: str | None = None  # the adapter that was extended by new classes, and its digest


class OpenInCA(WithHeads[OpenInCAConfig]):
    """A stack of Open-InCA adapters on one layer."""

    Config = OpenInCAConfig
    reads = frozenset({"normalised"})
    query: Tensor
    query_weight: Tensor
    query_bias: Tensor
    key_weight: Tensor
    value_weight: Tensor
    value_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return the high weight decays of InCA."""
        return {"lr": (1e-3, 3e-3), "weight_decay": (0.3, 3.0)}

    @classmethod
    def init_parameters(cls, config: OpenInCAConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one adapter, as the docstring of the module says."""
        width = scope.spec.width
        drawn = {f"{name}_weight": xavier(generator, width) for name in ("query", "key", "value", "out")}
        drawn |= {f"{name}_bias": torch.zeros(width) for name in ("query", "value", "out")}
        return drawn | draw_classes(scope.num_outputs, width, generator)

    @property
    def _folds(self) -> bool:
        return self.noise is not None and is_folding_cheaper(
            self.scope.num_outputs, self.num_heads, self.scope.spec.width
        )

    def _projected(self, queries: Float[Tensor, "adapter query width"]) -> Float[Tensor, "adapter query width"]:
        return project(queries, self.query_weight) + self.query_bias[:, None]

    @property
    def _projections(self) -> Projections:
        return Projections(self.key_weight, self.value_weight, self.value_bias, self.num_heads)

    def queries(self) -> dict[int, Float[Tensor, "adapter folded width"]]:
        """Return the folded queries of the classes, in training and if folding costs less; else none."""
        if not self._folds:
            return {}
        return {self.scope.layers[0]: fold(self._projected(self.query), self.key_weight, self.num_heads)}

    def attention_inputs(self, batch: TokenBatch) -> AttentionInputs:
        """Return the normalised tokens and every class's query, folded."""
        folded = fold(self._projected(self.query), self.key_weight, self.num_heads)
        return AttentionInputs(batch.normalised[self.scope.layers[0]], folded, self.num_heads)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Return the logit of every class, which depends on the query of the class alone."""
        layer = self.scope.layers[0]
        if self._folds:
            values = project_values(batch.pooled[layer], self.value_weight, self.value_bias, self.num_heads)
            return self._logits(values, self.weight, self.bias)
        if self.noise is None:
            return self._tiled(batch.normalised[layer])
        values = attend_projected(batch.normalised[layer], self._projected(self.query), self._projections)
        return self._logits(values, self.weight, self.bias)

    def _tiled(self, tokens: Float[Tensor, "row token width"]) -> Float[Tensor, "adapter row classes"]:
        """Return the logits of all classes, in tiles of one shape that does not depend on the number of classes."""
        keys, values = project_tokens(tokens, self._projections)
        logits: list[Tensor] = []
        for start in range(0, self.scope.num_outputs, TILE):
            query, weight, bias = (self._tile(name, start) for name in PER_CLASS)
            gathered = attend_keys(keys, values, self._projected(query), self.num_heads)
            gathered = gathered + self.value_bias[:, None, None].to(gathered.dtype)
            logits.append(self._logits(gathered, weight, bias))
        return torch.cat(logits, -1)[..., : self.scope.num_outputs]

    def _tile(self, name: str, start: int) -> Float[Tensor, "adapter tile *width"]:
        rows = self.get_parameter(name)[:, start : start + TILE]
        missing = TILE - rows.shape[1]
        return pad(rows, (0, 0, 0, missing) if rows.ndim == 3 else (0, missing))

    def _logits(
        self,
        values: Float[Tensor, "adapter row query width"],
        weight: Float[Tensor, "adapter query width"],
        bias: Float[Tensor, "adapter query"],
    ) -> Float[Tensor, "adapter row query"]:
        out = project(values.flatten(1, 2), self.out_weight).float() + self.out_bias[:, None]
        normed = layer_norm(out, out.shape[-1:]).view(values.shape)
        if self.config.scale is not None:
            weight = normalize(weight, dim=-1) * (self.config.scale / math.sqrt(weight.shape[-1]))
        return (self.drop(normed) * weight[:, None]).sum(-1) + bias[:, None]


def draw_classes(num_classes: int, width: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw the tensors with a row per class for `num_classes` classes."""
    return {
        "query": torch.randn(num_classes, width, generator=generator) * 0.02,
        **classifier(generator, num_classes, width),
    }
