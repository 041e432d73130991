"""Attentive probes: one attention with learned queries, in the form of AIM or V-JEPA, and a linear classifier.

`aim` (El-Nouby et al. 2024), x the mean of the outputs of `num_layers` neighbouring layers:

    z = BatchNorm(x)                   over the channels, without affine
    logits = W mean_query(MHA(Q, W_K z, W_V z))        Q as it is; no W_Q, no W_O, no bias anywhere

`vjepa` (Bardes et al. 2024):

    r = Q + MHA(W_Q Q, W_K LN(x), W_V LN(x))           the queries themselves are not normed; no W_O
    e = r + MLP(LN(r));    logits = W mean_query(e) + b       MLP: width, 4 width, width, with GELU

With `depth` d above 1, as V-JEPA 2 has 4, x goes through d - 1 blocks of self-attention before (`token_blocks.py`).
The released code declares a W_O in the cross-attention and never uses it; `projected` true does, as earlier versions
of this module did, with norms that add 1e-6 to a variance in place of 1e-5.

A sweep trains another form by default: with `norm` "layer" instead of "own" aim has z = LN(x), without affine,
and in both forms W sees LN of what each query gathered, as in the attentional pooler of CoCa (Yu et al. 2022) and in
InCA. On a thousand images that is worth more than all else about these probes (docs/results/accuracy.md).

Queries are drawn from N(0, 0.02^2), projections from a truncated N(0, 0.02^2) with the last of the MLP divided by
sqrt(2), biases zero. What is trained of vjepa's gammas is the distance from one, so that weight decay, from which
the original excepts them, does not take them away. Both papers probe the last layers; here every run of `num_layers`
chosen layers is a candidate. A normalisation is a scale and a shift for each channel: it joins the projections, and no
token is normalised twice.

Inferred: the initialisation of aim's projections (U(-1/sqrt(n), 1/sqrt(n)), torch's default) and of its classifier
(N(0, 0.01^2)), and no key bias in vjepa's cross-attention, which the softmax removes.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, JsonValue
from torch import Tensor
from torch.nn.functional import gelu

from icecore.store import LayerSpec

from ..modules.cross_attention import Projections, attend_keys, cross_attend
from ..modules.folded import fold, project
from ..modules.initial import classifier, uniform
from ..modules.norms import EPS, moments, normalise
from ..modules.token_blocks import EPS as VJEPA_EPS
from ..modules.token_blocks import affine, by_head, draw_blocks, linear, normed, through
from ..tokens.batch import TokenBatch
from .adapter import Scope
from .layers_and_heads import HeadsConfig, WithHeads, incompatible_layers, windows
from .optional import AttentionInputs

SPREAD = 0.02  # standard deviation of initial queries and of vjepa's matrices


class AttentiveConfig(HeadsConfig):
    """The form of the probe; `norm` "own" takes the norms of the papers, "layer" layer norms before and after."""

    form: Literal["aim", "vjepa"] = "aim"
    norm: Literal["own", "layer"] = "own"
    num_layers: int = Field(default=1, ge=1)
    num_queries: int = Field(default=1, ge=1)
    depth: int = Field(default=1, ge=1)
    projected: bool = False


class Attentive(WithHeads[AttentiveConfig]):
    """A stack of attentive probes on the same layers."""

    Config = AttentiveConfig
    reads = frozenset({"tokens"})
    untrained = ("running_mean", "running_variance")
    before: ClassVar[Mapping[str, JsonValue]] = {"projected": True}
    query: Tensor
    key_weight: Tensor
    value_weight: Tensor
    weight: Tensor

    @classmethod
    def default_grid(cls, spec: LayerSpec) -> dict[str, tuple[object, ...]]:
        """Return layer norms, and a higher weight decay than most families have."""
        return {"lr": (3e-3, 1e-2), "weight_decay": (0.3, 3.0), "norm": ("layer",)}

    @classmethod
    def layer_groups(cls, config: AttentiveConfig, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return every run of `num_layers` neighbouring layers."""
        return windows(layers, config.num_layers)

    @classmethod
    def incompatibility(cls, config: AttentiveConfig, scope: Scope) -> str | None:
        """Refuse too few or unequal layers, no patches, heads that do not divide, and options that form aim lacks."""
        if config.form == "aim" and (config.depth > 1 or config.projected):
            return "form aim has no blocks and no output projection; leave out depth and projected, or choose vjepa"
        return super().incompatibility(config, scope) or incompatible_layers(scope, config.num_layers)

    @classmethod
    def init_parameters(cls, config: AttentiveConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one probe, as the docstring of the module says."""
        width = scope.spec.width
        drawn = {"query": torch.randn(config.num_queries, width, generator=generator) * SPREAD}
        drawn |= _draw_aim(width, generator) if config.form == "aim" else _draw_vjepa(config, width, generator)
        if (config.form, config.norm) == ("aim", "own"):
            drawn |= {"running_mean": torch.zeros(width), "running_variance": torch.ones(width)}
        drawn |= classifier(generator, scope.num_outputs, width)
        return {name: tensor for name, tensor in drawn.items() if config.form != "aim" or name != "bias"}

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Attend, average over the queries, and classify."""
        gathered = self._gathered(batch)
        if self.config.form == "vjepa":
            gathered = self._after_mlp(gathered)
        if self.config.norm == "layer":
            gathered = normalise(gathered)
        outputs = project(self.drop(gathered.mean(2)), self.weight)
        return outputs if self.config.form == "aim" else outputs + self.get_parameter("bias")[:, None]

    def attention_inputs(self, batch: TokenBatch) -> AttentionInputs | None:
        """Return the mean of the layers and the folded queries; None for a probe with blocks of self-attention."""
        if self.config.depth > 1:
            return None
        tokens, queries, to = self._attention_parts(batch)
        return AttentionInputs(tokens, fold(queries, to.key_weight, to.num_heads, to.gamma), to.num_heads)

    def _gathered(self, batch: TokenBatch) -> Float[Tensor, "adapter row query width"]:
        """Return the values that the queries gather from the tokens, or from the output of the blocks."""
        if self.config.depth == 1:
            return cross_attend(*self._attention_parts(batch)).float()
        tokens = through(
            self.get_parameter, self.config.depth - 1, self._mean(batch), self.num_adapters, self.num_heads
        )
        values = normed(self.get_parameter, "input", tokens, self._eps)
        shape = tokens.shape[1], self.num_heads
        keys = by_head(project(values, self.key_weight), *shape)
        values = by_head(linear(self.get_parameter, "value", values), *shape)
        return attend_keys(keys, values, linear(self.get_parameter, "query", self.query), self.num_heads).float()

    def _mean(self, batch: TokenBatch) -> Float[Tensor, "row token width"]:
        tokens = [batch.tokens[layer] for layer in self.scope.layers]
        return tokens[0] if len(tokens) == 1 else torch.stack(tokens).mean(0)

    @property
    def _eps(self) -> float:
        return EPS if self.config.projected else VJEPA_EPS

    def _attention_parts(
        self, batch: TokenBatch
    ) -> tuple[Float[Tensor, "row token width"], Float[Tensor, "adapter query width"], Projections]:
        """Return the tokens, the queries, and the projections with the norm's scale and shift joined."""
        mean, own, queries = self._mean(batch), (self.key_weight, self.value_weight), self.query
        if self.config.form == "vjepa":
            gamma, beta = affine(self.get_parameter, "input")
            shift = self.get_parameter("value_bias") + _through(self.value_weight, beta)
            projected = linear(self.get_parameter, "query", queries)
            return normalise(mean, self._eps), projected, Projections(*own, shift, self.num_heads, gamma)
        if self.config.norm == "layer":
            return normalise(mean), queries, Projections(*own, torch.zeros_like(queries[:, 0]), self.num_heads)
        running = self.get_buffer("running_mean"), self.get_buffer("running_variance")
        centre, variance = moments(mean.flatten(0, 1)[None], *running, self.noise is not None)
        gamma = (variance + EPS).rsqrt()
        return mean, queries, Projections(*own, -_through(self.value_weight, centre * gamma), self.num_heads, gamma)

    def _after_mlp(self, values: Float[Tensor, "adapter row query width"]) -> Float[Tensor, "adapter row query width"]:
        """Return the queries plus the gathered values, plus the MLP of the sum."""
        out = values
        if self.config.projected:
            out = linear(self.get_parameter, "out", values.flatten(1, 2)).view(values.shape)
        out = out + self.query[:, None]
        gamma, beta = affine(self.get_parameter, "norm")
        inner = normalise(out, self._eps).flatten(1, 2) * gamma[:, None] + beta[:, None]
        hidden = gelu(linear(self.get_parameter, "expand", inner))
        return out + linear(self.get_parameter, "contract", hidden).view(out.shape)


def _through(
    weight: Float[Tensor, "adapter outputs inputs"], values: Float[Tensor, "adapter inputs"]
) -> Float[Tensor, "adapter outputs"]:
    return (weight @ values[..., None])[..., 0]


def _draw_aim(width: int, generator: torch.Generator) -> dict[str, Tensor]:
    return {name: uniform(generator, width, width) for name in ("key_weight", "value_weight")}


def _draw_vjepa(config: AttentiveConfig, width: int, generator: torch.Generator) -> dict[str, Tensor]:
    square, wide = (width, width), (4 * width, width)
    shapes = {"query": square, "key": square, "value": square, "expand": wide, "contract": wide[::-1]}
    shapes |= {"out": square} if config.projected else {}
    drawn = {
        f"{name}_weight": torch.nn.init.trunc_normal_(torch.empty(shape), std=SPREAD, generator=generator)
        for name, shape in shapes.items()
    }
    for name in drawn.keys() & {"out_weight", "contract_weight"}:
        drawn[name] /= math.sqrt(2)
    drawn |= {f"{name}_bias": torch.zeros(shape[0]) for name, shape in shapes.items() if name != "key"}
    drawn |= {f"{norm}_{name}": torch.zeros(width) for norm in ("input", "norm") for name in ("gain", "beta")}
    return drawn | (draw_blocks(config.depth - 1, width, generator, SPREAD) if config.depth > 1 else {})
