"""The linear probe: one linear layer on pooled features of a layer (Caron et al. 2021; Oquab et al. 2023).

    logits = W f + b,    f = CLS, mean of the patches, or both side by side

With `num_layers` 4 it is DINOv2's probe of the last blocks: f holds the CLS (or the mean) of that many neighbouring
layers; with "cls+mean" the mean is of the deepest alone.

With `norm="final"` the backbone's frozen final norm is applied to the tokens of whichever layer is read, as in the
linear evaluation of DINOv2; on the last layer this is the backbone's own output. With `norm="none"` features are raw.
`norm=None` resolves to "final" if the backbone has a final norm of the width of the layer, else to "none".
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icecore.store import Frozen, LayerSpec

from ..modules.folded import project
from ..modules.initial import classifier
from ..tokens.batch import POOLINGS, TokenBatch
from .adapter import Adapter, Scope
from .layers_and_heads import incompatible_layers, windows


class LinearConfig(Frozen):
    """The pooling, the norm and the number of layers of the features."""

    pooling: Literal["cls", "mean", "cls+mean"] = "cls"
    norm: Literal["final", "none"] | None = None
    num_layers: int = Field(default=1, ge=1)

    @property
    def poolings(self) -> tuple[str, ...]:
        """The pooled vectors that are put side by side."""
        first, *rest = self.pooling.split("+")
        return (first,) * self.num_layers + tuple(rest)


class Linear(Adapter[LinearConfig]):
    """A stack of linear probes on the same features."""

    Config = LinearConfig
    reads = frozenset({"features"})
    weight: Tensor
    bias: Tensor

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return the poolings that the layer has, CLS and mean of the patches, beside the common axes."""
        pooling = ("cls",) * (spec.num_prefix > 0) + ("mean",) * (spec.num_tokens > spec.num_prefix)
        return {**super().default_grid(spec), "pooling": pooling}

    @classmethod
    def layer_groups(cls, config: LinearConfig, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return every run of `num_layers` neighbouring layers."""
        return windows(layers, config.num_layers)

    @classmethod
    def frozen_prefixes(cls, layers: tuple[int, ...]) -> tuple[str, ...]:
        """Return the prefix of the final norm."""
        return ("norm.",)

    @classmethod
    def resolve(cls, config: LinearConfig, scope: Scope) -> Frozen:
        """Set the norm."""
        fits = "norm.weight" in scope.frozen and len(scope.frozen["norm.weight"]) == scope.spec.width
        return config.model_copy(update={"norm": config.norm or ("final" if fits else "none")})

    @classmethod
    def incompatibility(cls, config: LinearConfig, scope: Scope) -> str | None:
        """Refuse a pooling whose tokens the layer lacks, and a final norm that the store lacks."""
        if reason := incompatible_layers(scope, config.num_layers, needs_patches=False):
            return reason
        if "cls" in config.poolings and scope.spec.num_prefix == 0:
            return "pooling 'cls' needs a CLS token, and the store has none; use --pooling mean"
        if "mean" in config.poolings and scope.spec.num_tokens == scope.spec.num_prefix:
            return "pooling 'mean' needs patch tokens, and the store has none; use --pooling cls"
        if config.norm == "final" and "norm.weight" not in scope.frozen:
            return "norm 'final' needs the backbone's final norm, and the store has none; use norm: none"
        if config.norm == "final" and len(scope.frozen["norm.weight"]) != scope.spec.width:
            width = len(scope.frozen["norm.weight"])
            return f"norm 'final' is for width {width}, and the layer has width {scope.spec.width}; use norm: none"
        return None

    @classmethod
    def init_parameters(cls, config: LinearConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw weights from N(0, 0.01^2), biases zero."""
        num_features = scope.spec.width * len(config.poolings)
        return classifier(generator, scope.num_outputs, num_features)

    def _features(self, batch: TokenBatch) -> Float[Tensor, "row feature"]:
        suffix = "_normalised" if self.config.norm == "final" else ""
        layers = (*self.scope.layers, self.scope.layers[-1])  # the deepest once more, where its mean joins
        parts = [
            batch.features[layer][:, POOLINGS.index(name + suffix)]
            for layer, name in zip(layers, self.config.poolings, strict=False)
        ]
        features = torch.stack(parts, 1)
        if self.config.norm == "final":
            gamma, beta = (self.scope.frozen[f"norm.{name}"].to(features) for name in ("weight", "bias"))
            features = features * gamma + beta
        return features.flatten(1)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Classify: one product of the shared features with the weights of all adapters."""
        features = self._features(batch)
        if self.noise is not None and self.noise.drops:
            return project(self.drop(features.expand(self.num_adapters, -1, -1)), self.weight) + self.bias[:, None]
        logits = features @ self.weight.flatten(0, 1).T  # row, adapter x classes
        return logits.view(features.shape[0], *self.bias.shape).transpose(0, 1) + self.bias[:, None]
