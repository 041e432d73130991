"""Head2Toe: a linear head on the few features that matter, out of pooled features of all layers (Evci et al. 2022).

    f_l = tokens of layer l, averaged in windows along their sequence, CLS among them: about `num_features` numbers
          windows of int(tokens width / num_features) tokens, at most all; those that fill no window are left out
    logits = W [ (m_0 f_0) / |m_0 f_0| ; ... ; (m_L f_L) / |m_L f_L| ] + b        m: 1 where a dimension is kept, else 0

First half of training: all dimensions, loss + `lasso` sum_j ||W[:, j]||_2. The share `keep` of dimensions with the
largest ||W[:, j]||, over all layers together, stays; every layer's features are scaled to length 1 anew over what is
left of them. Second half: a fresh head on those, without the lasso. Which share of each layer is kept says
`kept_by_layer`.

The paper reads inside the blocks as well: what attention and MLP add, the norm before attention, both layers of the
MLP. A store has block outputs alone, sums of those, so that a hidden MLP unit cannot be chosen here. Inferred: equal
halves (the code trains each head for all steps); the head is drawn from N(0, 0.01^2).
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, JsonValue
from torch import Tensor

from icecore.store import Frozen, LayerSpec

from ..modules.group_lasso import keep_top, lasso
from ..modules.initial import classifier
from ..tokens.batch import TokenBatch
from .adapter import Scope
from .optional import SelectsFeatures

TINY = 1e-12  # least length of features: a layer of which nothing is kept stays zero


class Head2ToeConfig(Frozen):
    """The number of pooled features of a layer, the share of dimensions that is kept, and the weight of the lasso.

    With `spread` the windows are as large as their number allows, as in earlier versions.
    """

    num_features: int = Field(default=512, ge=1)
    spread: bool = False
    keep: float = Field(default=0.1, gt=0, le=1)
    lasso: float = Field(default=1e-4, ge=0)


class Head2Toe(SelectsFeatures[Head2ToeConfig]):
    """A stack of Head2Toe heads on all layers."""

    Config = Head2ToeConfig
    reads = frozenset({"tokens"})
    untrained = ("kept", "choosing")
    before: ClassVar[Mapping[str, JsonValue]] = {"spread": True}
    weight: Tensor
    bias: Tensor
    kept: Tensor
    choosing: Tensor

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return the learning rates and weight decays that suit the family."""
        return {"lr": (1e-2,), "weight_decay": (0.0,), "keep": (0.02, 0.1, 0.5)}

    @classmethod
    def layer_groups(cls, config: Head2ToeConfig, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return all layers as one group."""
        return [layers]

    @classmethod
    def phases(cls, config: Head2ToeConfig) -> tuple[float, ...]:
        """Return two equal phases: selection, then training on the selected dimensions."""
        return (0.5, 0.5)

    @classmethod
    def init_parameters(cls, config: Head2ToeConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw one head over all dimensions, all of them kept."""
        num_features = sum(_sizes(config, scope))
        everything = {"kept": torch.ones(num_features), "choosing": torch.ones(())}
        return classifier(generator, scope.num_outputs, num_features) | everything

    def enter(self, phase: int, index: int, generator: torch.Generator) -> None:
        """Keep the best dimensions, and draw a new head on them."""
        with torch.no_grad():
            self.choosing[index] = 0
            self.kept[index] = keep_top(self.weight[index], self.config.keep)
            for name, drawn in classifier(generator, *self.weight.shape[1:]).items():
                self.get_parameter(name)[index] = drawn

    def kept_by_layer(self) -> dict[int, Float[Tensor, " adapter"]]:
        """Return by layer the share of the layer's dimensions that each adapter kept."""
        parts = self.kept.split(_sizes(self.config, self.scope), -1)
        return {layer: part.mean(1) for layer, part in zip(self.scope.layers, parts, strict=True)}

    def penalty(self) -> Float[Tensor, " adapter"]:
        """Return the group lasso of the adapters that are in the first phase, and zero for the others."""
        return self.choosing * lasso(self.weight) * self.config.lasso

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Sum the logits of all layers; adapters share the features, whose length under each mask is a factor."""
        return self.bias[:, None] + sum(self._layer_logits(batch))

    def _layer_logits(self, batch: TokenBatch) -> Iterator[Float[Tensor, "adapter row classes"]]:
        sizes = _sizes(self.config, self.scope)
        parts = (self.weight.split(sizes, -1), self.kept.split(sizes, -1))
        for layer, weight, kept in zip(self.scope.layers, *parts, strict=True):
            features = _pool(batch.tokens[layer].float(), _window(self.config, self.scope.specs[layer]))
            lengths = (features.square() @ kept.T).sqrt().clamp_min(TINY).T  # adapter row
            if self.noise is not None and self.noise.drops:
                logits = self.drop(features.expand(self.num_adapters, -1, -1)) @ (weight * kept[:, None]).mT
            else:
                logits = (
                    (features @ (weight * kept[:, None]).flatten(0, 1).T).unflatten(1, weight.shape[:2]).transpose(0, 1)
                )
            yield logits / lengths[..., None]


def _window(config: Head2ToeConfig, spec: LayerSpec) -> int:
    """Return how many tokens are averaged at a time, so that a layer has about `num_features` features."""
    window = max(1, min(spec.num_tokens, int(spec.num_tokens * spec.width / config.num_features)))
    return spec.num_tokens // (spec.num_tokens // window) if config.spread else window


def _sizes(config: Head2ToeConfig, scope: Scope) -> list[int]:
    specs = [scope.specs[layer] for layer in scope.layers]
    return [spec.num_tokens // _window(config, spec) * spec.width for spec in specs]


def _pool(tokens: Float[Tensor, "row token width"], window: int) -> Float[Tensor, "row feature"]:
    """Average along the sequence; tokens at its end that fill no window are left out, as in the original."""
    num_windows = tokens.shape[1] // window
    return tokens[:, : num_windows * window].unflatten(1, (num_windows, window)).mean(2).flatten(1)
