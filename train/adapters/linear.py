"""The linear probe: one linear layer on pooled features of a layer (Caron et al. 2021; Oquab et al. 2023).

    logits = W f + b,    f = CLS, mean of the patches, or both side by side

With `norm="final"` the backbone's frozen final norm is applied to the tokens of whichever layer is read, as in the
linear evaluation of DINOv2; on the last layer this is the backbone's own output. With `norm="none"` features are raw.
Left open, it is "final" where the backbone has a final norm as wide as the layer, and "none" where it has not.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icecore.store import Frozen

from ..adapter import Adapter, Scope
from ..project import project
from ..seen import POOLINGS, Seen


class LinearConfig(Frozen):
    """Which features the probe sees."""

    pooling: Literal["cls", "mean", "cls+mean"] = "cls"
    norm: Literal["final", "none"] | None = None

    @property
    def poolings(self) -> tuple[str, ...]:
        """The pooled vectors that are put side by side."""
        return tuple(self.pooling.split("+"))


class Linear(Adapter):
    """A stack of linear probes on the same features."""

    Config = LinearConfig
    config: LinearConfig
    reads = frozenset({"features"})
    weight: Tensor
    bias: Tensor

    @classmethod
    def uses(cls, layers: tuple[int, ...]) -> tuple[str, ...]:
        """Use the final norm."""
        return ("norm.",)

    @classmethod
    def settle(cls, config: Frozen, scope: Scope) -> Frozen:
        """Fill in the norm."""
        assert isinstance(config, LinearConfig)
        fits = "norm.weight" in scope.frozen and len(scope.frozen["norm.weight"]) == scope.spec.width
        return config.model_copy(update={"norm": config.norm or ("final" if fits else "none")})

    @classmethod
    def refuse(cls, config: Frozen, scope: Scope) -> str | None:
        """Refuse a CLS or patches that the layer does not have, and a final norm that the store does not have."""
        assert isinstance(config, LinearConfig)
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
    def draw(cls, config: Frozen, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw weights from N(0, 0.01^2), biases zero."""
        assert isinstance(config, LinearConfig)
        num_features = scope.spec.width * len(config.poolings)
        weight = torch.randn(scope.num_outputs, num_features, generator=generator) * 0.01
        return {"weight": weight, "bias": torch.zeros(scope.num_outputs)}

    def _features(self, seen: Seen) -> Float[Tensor, "row feature"]:
        suffix = "_normalised" if self.config.norm == "final" else ""
        where = [POOLINGS.index(name + suffix) for name in self.config.poolings]
        features = seen.features[self.scope.layers[0]][:, where]
        if self.config.norm == "final":
            gamma, beta = (self.scope.frozen[f"norm.{name}"].to(features) for name in ("weight", "bias"))
            features = features * gamma + beta
        return features.flatten(1)

    def forward(self, seen: Seen) -> Float[Tensor, "adapter row classes"]:
        """One product of the shared features with every adapter's weights."""
        features = self._features(seen)
        if self.noise is not None and self.noise.drops:
            return project(self.drop(features.expand(self.num_adapters, -1, -1)), self.weight) + self.bias[:, None]
        logits = features @ self.weight.flatten(0, 1).T  # row, adapter x classes
        return logits.view(len(features), *self.bias.shape).transpose(0, 1) + self.bias[:, None]
