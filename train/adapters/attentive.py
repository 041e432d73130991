"""Attentive probes: one attention with learned queries, in the form of AIM or of V-JEPA, and a linear classifier.

`aim` (El-Nouby et al. 2024), x the mean of the outputs of `num_layers` neighbouring layers:

    z = BatchNorm(x)                   over the channels, without affine
    logits = W mean_query(MHA(Q, W_K z, W_V z))        Q as it is; no W_Q, no W_O, no bias anywhere

`vjepa` (Bardes et al. 2024):

    r = Q + W_O MHA(W_Q Q, W_K LN(x), W_V LN(x)) + b_O        the queries themselves are not normed
    e = r + MLP(LN(r));    logits = W mean_query(e) + b       MLP: width, 4 width, width, with GELU

A sweep trains another form unless it is told: with `norm` "layer" instead of "own" aim has z = LN(x), without affine,
and in both forms W sees LN of what each query gathered, as in the attentional pooler of CoCa (Yu et al. 2022) and in
InCA. On a thousand images that is worth more than all else about these probes (docs/accuracy.md).

Queries are drawn from N(0, 0.02^2), projections from a truncated N(0, 0.02^2) with W_O and the last of the MLP divided
by sqrt(2), biases zero. What is trained of vjepa's gammas is the distance from one, so that weight decay, from which
the original excepts them, does not take them away. Both papers probe the last layers; here every run of `num_layers`
chosen layers is a candidate. A normalisation is a scale and a shift for each channel: it joins the projections, and no
token is normalised twice.

Inferred: the initialisation of aim's projections (U(-1/sqrt(n), 1/sqrt(n)), torch's default) and of its classifier
(N(0, 0.01^2)), and no key bias in vjepa, which the softmax removes.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import gelu

from icecore.store import Frozen, LayerSpec

from ..adapter import Looks, Scope
from ..batch_norm import moments
from ..cross_attention import Projections, cross_attend
from ..folded import fold
from ..heads import HeadsConfig, WithHeads
from ..initial import classifier, uniform
from ..norm import EPS, norm
from ..project import project
from ..seen import Seen
from ..span import unfit, windows


class AttentiveConfig(HeadsConfig):
    """The form of the probe, and whose norms it has: those of the papers, or layer norms before and after."""

    form: Literal["aim", "vjepa"] = "aim"
    norm: Literal["own", "layer"] = "own"
    num_layers: int = Field(default=1, ge=1)
    num_queries: int = Field(default=1, ge=1)


class Attentive(WithHeads):
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
    def axes(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Take layer norms, and decay as InCA does."""
        return {"lr": (3e-3, 1e-2), "weight_decay": (0.3, 3.0), "norm": ("layer",)}

    @classmethod
    def spans(cls, config: Frozen, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Read every run of neighbouring layers."""
        assert isinstance(config, AttentiveConfig)
        return windows(layers, config.num_layers)

    @classmethod
    def refuse(cls, config: Frozen, scope: Scope) -> str | None:
        """Refuse too few layers, layers that differ, tokens without patches, and heads that do not divide the width."""
        assert isinstance(config, AttentiveConfig)
        return super().refuse(config, scope) or unfit(scope, config.num_layers)

    @classmethod
    def draw(cls, config: Frozen, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw one probe, as the module's docstring says."""
        assert isinstance(config, AttentiveConfig)
        width = scope.spec.width
        drawn = {"query": torch.randn(config.num_queries, width, generator=generator) * 0.02}
        drawn |= _draw_aim(width, generator) if config.form == "aim" else _draw_vjepa(width, generator)
        if (config.form, config.norm) == ("aim", "own"):
            drawn |= {"running_mean": torch.zeros(width), "running_variance": torch.ones(width)}
        drawn |= classifier(generator, scope.num_outputs, width)
        return {name: tensor for name, tensor in drawn.items() if config.form != "aim" or name != "bias"}

    def forward(self, seen: Seen) -> Float[Tensor, "adapter row classes"]:
        """Attend, average over the queries, classify."""
        gathered = cross_attend(*self._asked(seen)).float()
        if self.config.form == "vjepa":
            gathered = self._thought(gathered)
        if self.config.norm == "layer":
            gathered = norm(gathered)
        outputs = project(self.drop(gathered.mean(2)), self.weight)
        return outputs if self.config.form == "aim" else outputs + self.get_parameter("bias")[:, None]

    def looks(self, seen: Seen) -> Looks:
        """Return the mean of the layers and the queries, folded with the scale of the norm."""
        tokens, queries, to = self._asked(seen)
        return Looks(tokens, fold(queries, to.key_weight, to.num_heads, to.gamma), to.num_heads)

    def _asked(
        self, seen: Seen
    ) -> tuple[Float[Tensor, "row token width"], Float[Tensor, "adapter query width"], Projections]:
        """Return the tokens that are looked at, who looks, and how, the norm's scale and shift among the latter."""
        tokens = [seen.tokens[layer] for layer in self.scope.layers]
        mean = tokens[0] if len(tokens) == 1 else torch.stack(tokens).mean(0)
        own, queries = (self.key_weight, self.value_weight), self.query
        if self.config.form == "vjepa":
            gamma, beta = self._affine("input")
            shift = self.get_parameter("value_bias") + _through(self.value_weight, beta)
            return norm(mean), self._linear("query", queries), Projections(*own, shift, self.num_heads, gamma)
        if self.config.norm == "layer":
            return norm(mean), queries, Projections(*own, torch.zeros_like(queries[:, 0]), self.num_heads)
        running = self.get_buffer("running_mean"), self.get_buffer("running_variance")
        centre, variance = moments(mean.flatten(0, 1)[None], *running, self.noise is not None)
        gamma = (variance + EPS).rsqrt()
        return mean, queries, Projections(*own, -_through(self.value_weight, centre * gamma), self.num_heads, gamma)

    def _thought(self, values: Float[Tensor, "adapter row query width"]) -> Float[Tensor, "adapter row query width"]:
        """Add what was gathered to the queries, and the MLP of that."""
        out = self._linear("out", values.flatten(1, 2)).view(values.shape) + self.query[:, None]
        gamma, beta = self._affine("norm")
        inner = norm(out).flatten(1, 2) * gamma[:, None] + beta[:, None]
        return out + self._linear("contract", gelu(self._linear("expand", inner))).view(out.shape)

    def _affine(self, where: str) -> tuple[Float[Tensor, "adapter width"], Float[Tensor, "adapter width"]]:
        """Return gamma and beta of a norm; what is trained of gamma is its distance from one."""
        return 1 + self.get_parameter(f"{where}_gain"), self.get_parameter(f"{where}_beta")

    def _linear(self, name: str, inputs: Float[Tensor, "adapter row inputs"]) -> Float[Tensor, "adapter row outputs"]:
        return project(inputs, self.get_parameter(f"{name}_weight")) + self.get_parameter(f"{name}_bias")[:, None]


def _through(
    weight: Float[Tensor, "adapter outputs inputs"], values: Float[Tensor, "adapter inputs"]
) -> Float[Tensor, "adapter outputs"]:
    return (weight @ values[..., None])[..., 0]


def _draw_aim(width: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {name: uniform(generator, width, width) for name in ("key_weight", "value_weight")}


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
    return drawn | {f"{where}_{name}": torch.zeros(width) for where in ("input", "norm") for name in ("gain", "beta")}
