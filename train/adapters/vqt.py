"""VQT: queries that attend to every block's input through the frozen block, and one linear head (arXiv 2212.03220).

    h = W_O MHA(W_Q LN1(P_l), W_K LN1(x_{l-1}), W_V LN1(x_{l-1})) + b_O       P_l: query x width, one set a block
    Z_l = P_l + h + MLP(LN2(P_l + h))                                     all weights of block l, frozen
    logits = W [ LN_f(x_L)_CLS ; Z_1 ; ... ; Z_L ] + b                    each of the L + 1 segments of length 1

The queries do not change x, so that blocks do not depend on each other. All rows share the queries, so that the key and
value projections fold and no token is projected. P is drawn from U(-v, v),
v^2 = 6 / (3 * 16^2 + width), W Kaiming-normal (fan out), b zero.

With `keep` below 1 training has three phases of equal length: queries and head; queries frozen, a fresh head with a
group lasso (`lasso` times the sum over dimensions of ||W[:, j]||); a fresh head on the share `keep` of dimensions that
came out the most relevant. The second and the third have half the learning rate, and drop out of the frozen queries as
the first does of those that learn.

Inferred: dropout of 0.1 on P, which the released code draws for every image, is drawn once a step for all of them, as
folding asks; the mean of the patches stands for a CLS that is not there; patches of 16 pixels in v, whatever they are;
equal phases (the code runs each for all epochs). The code's bias -log(99) is a constant that the softmax removes.

The family needs higher learning rates than others, without weight decay: 0.1 for one query, 0.025 for ten.
"""

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from icecore.store import Frozen, LayerSpec

from ..modules.folded import project
from ..modules.group_lasso import keep_top, lasso
from ..tokens.batch import POOLINGS, TokenBatch
from .adapter import Scope
from .optional import SelectsFeatures
from .through_blocks import ThroughBlocks

QUERY_DROPOUT = 0.1
PATCH_SIZE = 16  # of the backbones in the paper: the initialisation uses it for every backbone


class VQTConfig(Frozen):
    """The number of queries of a block, the share of output dimensions that is kept, and the weight of the lasso."""

    num_queries: int = Field(default=1, ge=1)
    keep: float = Field(default=1.0, gt=0, le=1)
    lasso: float = Field(default=1e-4, ge=0)


class VQT(ThroughBlocks[VQTConfig], SelectsFeatures[VQTConfig]):
    """A stack of VQT adapters on all layers."""

    Config = VQTConfig
    reads = frozenset({"features", "normalised"})
    untrained = ("phase", "frozen_query", "kept")
    query: Tensor
    weight: Tensor
    bias: Tensor
    phase: Tensor
    frozen_query: Tensor
    kept: Tensor

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return the learning rates and weight decays that suit the family."""
        return {"lr": (0.025, 0.1), "weight_decay": (0.0,)}

    @classmethod
    def phases(cls, config: VQTConfig) -> tuple[float, ...]:
        """Return three phases if `keep` is below 1 (queries, selection, head on the selection), else one."""
        return (1 / 3, 1 / 3, 1 / 3) if config.keep < 1 else (1.0,)

    @classmethod
    def phase_rates(cls, config: VQTConfig) -> tuple[float, ...]:
        """Return half the learning rate for the phases in which the queries are frozen."""
        return (1.0, 0.5, 0.5) if config.keep < 1 else (1.0,)

    @classmethod
    def incompatibility(cls, config: VQTConfig, scope: Scope) -> str | None:
        """Refuse, too, blocks that normalise every key, since their attention cannot be folded."""
        refusal = super().incompatibility(config, scope)
        if refusal is None and not scope.blocks[0].can_fold:
            return "the backbone's attention normalises every key, so queries cannot be folded; choose synqt"
        return refusal

    @classmethod
    def init_parameters(cls, config: VQTConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one adapter, as the docstring of the module says."""
        width, num_blocks = scope.spec.width, len(scope.layers) - 1
        bound = math.sqrt(6 / (3 * PATCH_SIZE**2 + width))
        query = (torch.rand(num_blocks, config.num_queries, width, generator=generator) * 2 - 1) * bound
        num_features = width * (1 + num_blocks * config.num_queries)
        drawn = {"query": query, **_head(scope.num_outputs, num_features, generator)}
        if config.keep < 1:
            drawn |= {"phase": torch.zeros(()), "frozen_query": query, "kept": torch.ones(num_features)}
        return drawn

    def enter(self, phase: int, index: int, generator: torch.Generator) -> None:
        """Freeze the queries or keep the best dimensions, and draw a new head."""
        with torch.no_grad():
            self.phase[index] = phase
            if phase == 1:
                self.frozen_query[index] = self.query[index]
            else:
                self.kept[index] = keep_top(self.weight[index], self.config.keep)
            for name, drawn in _head(self.scope.num_outputs, self.weight.shape[-1], generator).items():
                getattr(self, name)[index] = drawn

    def kept_by_layer(self) -> dict[int, Float[Tensor, " adapter"]]:
        """Return by layer the kept share of the queries' dimensions; for the last layer, of the backbone's output."""
        if self.config.keep == 1:
            return {}
        output, of_queries = self.kept.split([self.scope.spec.width, self.kept.shape[1] - self.scope.spec.width], -1)
        parts = [*of_queries.chunk(len(self.inputs), -1), output]
        return {layer: part.mean(1) for layer, part in zip(self.scope.layers, parts, strict=True)}

    def penalty(self) -> Float[Tensor, " adapter"] | None:
        """Return the group lasso of the adapters in the second phase, and zero for the others."""
        return (self.phase == 1) * lasso(self.weight) * self.config.lasso if self.config.keep < 1 else None

    def queries(self) -> dict[int, Float[Tensor, "adapter folded width"]]:
        """Return the queries folded through every block; `forward` uses the same queries after dropout."""
        query = self.query
        if self.config.keep < 1:
            query = torch.where(self.phase[:, None, None, None] > 0, self.frozen_query, query)
        self._dropped_queries = self.drop(query, QUERY_DROPOUT).unbind(1)
        return {
            k: block.fold(query)
            for k, block, query in zip(self.inputs, self.blocks, self._dropped_queries, strict=True)
        }

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Finish each block for the pooled vectors of its queries, and classify all outputs side by side."""
        segments = [self._final(batch).expand(self.num_adapters, -1, -1)]
        for layer, block, query in zip(self.inputs, self.blocks, self._dropped_queries, strict=True):
            middle = query[:, None] + block.gathered(batch.pooled[layer])  # adapter row query width
            segments.append((middle + block.mlp(middle)).flatten(2))
        features = torch.cat([normalize(segment, dim=-1) for segment in segments], -1)
        if self.config.keep < 1:
            features = features * self.kept[:, None]
        return project(self.drop(features), self.weight) + self.bias[:, None]

    def _final(self, batch: TokenBatch) -> Float[Tensor, "row width"]:
        """Return the backbone's output: CLS, or the mean of the patches, after the final norm."""
        pooling = "cls_normalised" if self.scope.spec.num_prefix else "mean_normalised"
        features = batch.features[max(self.scope.layers)][:, POOLINGS.index(pooling)]
        gamma, beta = (self.scope.frozen[f"norm.{name}"].to(features) for name in ("weight", "bias"))
        return features * gamma + beta


def _head(num_outputs: int, num_features: int, generator: torch.Generator) -> dict[str, Tensor]:
    weight = torch.randn(num_outputs, num_features, generator=generator) * math.sqrt(2 / num_outputs)
    return {"weight": weight, "bias": torch.zeros(num_outputs)}
