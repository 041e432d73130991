"""Attentive probes: one attention with learned queries, in the form of AIM or of V-JEPA, and a linear classifier.

`aim` (El-Nouby et al. 2024), x the mean of the outputs of `num_layers` neighbouring layers:

    z = BatchNorm(x)                   over the channels, without affine
    logits = W mean_query(MHA(Q, W_K z, W_V z))        Q as it is; no W_Q, no W_O, no bias anywhere

`vjepa` (Bardes et al. 2024):

    r = Q + W_O MHA(W_Q Q, W_K LN(x), W_V LN(x)) + b_O        the queries themselves are not normed
    e = r + MLP(LN(r));    logits = W mean_query(e) + b       MLP: width, 4 width, width, with GELU

Queries are drawn from N(0, 0.02^2), projections from a truncated N(0, 0.02^2) with W_O and the last of the MLP divided
by sqrt(2), biases zero. Both papers probe the last layers; here every run of `num_layers` chosen layers is a candidate.
A normalisation is a scale and a shift for each channel: it joins the projections, and no token is normalised twice.

Inferred: the initialisation of aim's projections (U(-1/sqrt(n), 1/sqrt(n)), torch's default) and of its classifier
(N(0, 0.01^2)), and no key bias in vjepa, which the softmax removes.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from icecore.store import Frozen

from ..adapter import Adapter, Looks, Scope
from ..batch_norm import moments
from ..cross_attention import cross_attend
from ..folded import fold
from ..heads import default_heads
from ..project import project
from ..seen import Seen
from ..span import unfit, windows

EPS = 1e-6


class AttentiveConfig(Frozen):
    """The form of the probe; `num_heads` None: one for every 64 channels."""

    form: Literal["aim", "vjepa"] = "aim"
    num_layers: int = Field(default=1, ge=1)
    num_queries: int = Field(default=1, ge=1)
    num_heads: int | None = None


class Attentive(Adapter):
    """A stack of attentive probes on the same layers."""

    Config = AttentiveConfig
    config: AttentiveConfig
    reads = frozenset({"tokens"})
    untrained = ("running_mean", "running_variance")
    query: Tensor
    key_weight: Tensor
    value_weight: Tensor
    weight: Tensor

    @classmethod
    def spans(cls, config: Frozen, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Read every run of neighbouring layers."""
        assert isinstance(config, AttentiveConfig)
        return windows(layers, config.num_layers)

    @classmethod
    def settle(cls, config: Frozen, scope: Scope) -> Frozen:
        """Fill in the number of heads."""
        assert isinstance(config, AttentiveConfig)
        return config.model_copy(update={"num_heads": config.num_heads or default_heads(scope.spec.width)})

    @classmethod
    def refuse(cls, config: Frozen, scope: Scope) -> str | None:
        """Refuse too few layers, layers that differ, tokens without patches, and heads that do not divide the width."""
        assert isinstance(config, AttentiveConfig)
        if not config.num_heads or scope.spec.width % config.num_heads:
            return f"{config.num_heads} heads: expected a divisor of the width {scope.spec.width}; choose --heads"
        return unfit(scope, config.num_layers)

    @classmethod
    def draw(cls, config: Frozen, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw one probe, as the module's docstring says."""
        assert isinstance(config, AttentiveConfig)
        width = scope.spec.width
        drawn = {"query": torch.randn(config.num_queries, width, generator=generator) * 0.02}
        drawn |= _draw_aim(width, generator) if config.form == "aim" else _draw_vjepa(width, generator)
        drawn["weight"] = torch.randn(scope.num_outputs, width, generator=generator) * 0.01
        return drawn if config.form == "aim" else drawn | {"bias": torch.zeros(scope.num_outputs)}

    def _mean(self, seen: Seen) -> Float[Tensor, "row token width"]:
        tokens = [seen.tokens[layer] for layer in self.scope.layers]
        return tokens[0] if len(tokens) == 1 else torch.stack(tokens).mean(0)

    def _linear(self, name: str, inputs: Float[Tensor, "adapter row inputs"]) -> Float[Tensor, "adapter row outputs"]:
        return project(inputs, self.get_parameter(f"{name}_weight")) + self.get_parameter(f"{name}_bias")[:, None]

    def forward(self, seen: Seen) -> Float[Tensor, "adapter row classes"]:
        """Attend, average over the queries, classify."""
        tokens = self._mean(seen)
        if self.config.form == "aim":
            return project(self.drop(self._aim(tokens).mean(2)), self.weight)
        return project(self.drop(self._vjepa(tokens).mean(2)), self.weight) + self.get_parameter("bias")[:, None]

    def looks(self, seen: Seen) -> Looks:
        """Return the mean of the layers and the queries, folded with the scale of the norm."""
        assert self.config.num_heads is not None  # settled
        tokens = self._mean(seen)
        if self.config.form == "aim":
            query, gamma = self.query, (self.get_buffer("running_variance") + EPS).rsqrt()
        else:
            tokens = layer_norm(tokens, tokens.shape[-1:], eps=EPS)
            query, gamma = self._linear("query", self.query), self.get_parameter("input_gamma")
        return Looks(tokens, fold(query, self.key_weight, self.config.num_heads, gamma), self.config.num_heads)

    def _aim(self, tokens: Float[Tensor, "row token width"]) -> Float[Tensor, "adapter row query width"]:
        assert self.config.num_heads is not None  # settled
        running = self.get_buffer("running_mean"), self.get_buffer("running_variance")
        mean, variance = moments(tokens.flatten(0, 1)[None], *running, self.noise is not None)
        gamma = (variance + EPS).rsqrt()
        shift = -(self.value_weight @ (mean * gamma)[..., None])[..., 0]
        weights = (self.key_weight, self.value_weight, shift, self.config.num_heads, gamma)
        return cross_attend(tokens, self.query, *weights).float()

    def _vjepa(self, tokens: Float[Tensor, "row token width"]) -> Float[Tensor, "adapter row query width"]:
        assert self.config.num_heads is not None  # settled
        normed = layer_norm(tokens, tokens.shape[-1:], eps=EPS)
        gamma, beta = self.get_parameter("input_gamma"), self.get_parameter("input_beta")
        shift = self.get_parameter("value_bias") + (self.value_weight @ beta[..., None])[..., 0]
        weights = (self.key_weight, self.value_weight, shift, self.config.num_heads, gamma)
        values = cross_attend(normed, self._linear("query", self.query), *weights)
        out = self._linear("out", values.flatten(1, 2).float()).view(values.shape) + self.query[:, None]
        gamma, beta = (self.get_parameter(f"norm_{name}")[:, None] for name in ("gamma", "beta"))
        inner = layer_norm(out, out.shape[-1:], eps=EPS).flatten(1, 2) * gamma + beta
        return out + self._linear("contract", gelu(self._linear("expand", inner))).view(out.shape)


def _draw_aim(width: int, generator: torch.Generator) -> dict[str, Tensor]:
    names = ("key_weight", "value_weight")
    drawn = {name: (torch.rand(width, width, generator=generator) * 2 - 1) / math.sqrt(width) for name in names}
    return drawn | {"running_mean": torch.zeros(width), "running_variance": torch.ones(width)}


def _draw_vjepa(width: int, generator: torch.Generator) -> dict[str, Tensor]:
    square, wide = (width, width), (4 * width, width)
    shapes = {"query": square, "key": square, "value": square, "out": square, "expand": wide, "contract": wide[::-1]}
    drawn = {
        f"{name}_weight": torch.nn.init.trunc_normal_(torch.empty(shape), std=0.02, generator=generator)
        for name, shape in shapes.items()
    }
    for name in ("out_weight", "contract_weight"):
        drawn[name] /= math.sqrt(2)
    drawn |= {f"{name}_bias": torch.zeros(shape[0]) for name, shape in shapes.items() if name != "key"}
    affine = {"gamma": torch.ones(width), "beta": torch.zeros(width)}
    return drawn | {f"{where}_{name}": values for where in ("input", "norm") for name, values in affine.items()}
