"""LoSA: a low-rank side network that refines the tokens in parallel to the backbone (arXiv 2402.02887).

    y_0 = 0;    z = x_l + y_{l-1};    y_l = y_{l-1} + c + t      for every tapped layer l
    c = U_c GELU(V_c LN(z))           V_c: rank x width, U_c: width x rank, for each token
    t = U_t GELU(V_t LN(c))           V_t: rank x token, U_t: token x rank, for each channel
    logits = W pool(LN_f(x_L + y_L)) + b

2 rank (width + tokens) numbers a layer and the classifier: LN has no affine, and LN_f is the backbone's final norm,
frozen. U_c and U_t begin as zeros, so that the first step is the linear probe's on the last layer. Of a clip, whose
tokens are frame after frame, tokens are mixed within each frame, and then t' = U_s GELU(V_s LN(c + t)) across the
frames, for each place: 2 rank (width + tokens / frames + frames) numbers.

Inferred, for want of public code: the recurrence, the place of the norms, no biases, V from U(-1/sqrt(n), 1/sqrt(n));
and what is left to choose: `accumulate` false makes y_l = c + t, `gate` scales each layer's step by a learned number
that begins at one, `norm` false leaves LN out. Published is the low-rank mixing of channels and tokens in turn.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from icecore.store import Frozen

from ..modules.folded import project
from ..modules.initial import classifier, uniform
from ..modules.norms import EPS, normalise
from ..tokens.batch import TokenBatch
from .adapter import Adapter, Scope
from .layers_and_heads import SidePooling, incompatible_layers, ladder, pooled_tokens, refuse_pooling


class LoSAConfig(Frozen):
    """The shape of the side network; every `every`-th layer is tapped, counted from the last."""

    rank: int = Field(default=8, ge=1)
    every: int = Field(default=1, ge=1)
    gate: bool = False
    accumulate: bool = True
    norm: bool = True
    side_pooling: SidePooling = "cls"
    frames: int = Field(default=1, ge=1)


class LoSA(Adapter[LoSAConfig]):
    """A stack of side networks on the same layers."""

    Config = LoSAConfig
    reads = frozenset({"tokens"})
    gate: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def layer_groups(cls, config: LoSAConfig, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return all tapped layers as one group."""
        return ladder(layers, config.every)

    @classmethod
    def frozen_prefixes(cls, layers: tuple[int, ...]) -> tuple[str, ...]:
        """Return the prefix of the final norm."""
        return ("norm.",)

    @classmethod
    def incompatibility(cls, config: LoSAConfig, scope: Scope) -> str | None:
        """Refuse unequal layers, missing patches or CLS, frames that do not divide the tokens, and no final norm."""
        if reason := incompatible_layers(scope):
            return reason
        if scope.spec.num_tokens % config.frames:
            return f"frames {config.frames}: expected a divisor of the {scope.spec.num_tokens} tokens of a row"
        if config.side_pooling == "mean" and scope.spec.num_tokens // config.frames <= scope.spec.num_prefix:
            return f"frames {config.frames}: side_pooling 'mean' needs patches in each; use side_pooling: cls"
        if reason := refuse_pooling(config.side_pooling, scope):
            return reason
        if "norm.weight" not in scope.frozen:
            return (
                "it ends in the backbone's final norm, and the store has none; extract again with a backbone that has"
            )
        return None

    @classmethod
    def init_parameters(cls, config: LoSAConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one side network, as the docstring of the module says."""
        num_taps, rank, frames = len(scope.layers), config.rank, config.frames
        sizes = {"channel": scope.spec.width, "token": scope.spec.num_tokens // frames} | (
            {"frame": frames} if frames > 1 else {}
        )
        drawn: dict[str, Tensor] = {}
        for name, size in sizes.items():
            down = uniform(generator, num_taps, rank, size)
            drawn |= {f"{name}_down": down, f"{name}_up": torch.zeros(num_taps, size, rank)}
        if config.gate:
            drawn["gate"] = torch.ones(num_taps)
        return drawn | classifier(generator, scope.num_outputs, scope.spec.width)

    def _pair(self, name: str, tap: int) -> tuple[Tensor, Tensor]:
        """Return V and U of a tap."""
        return self.get_parameter(f"{name}_down")[:, tap], self.get_parameter(f"{name}_up")[:, tap]

    def _step(self, z: Float[Tensor, "adapter row token width"], tap: int) -> Float[Tensor, "adapter row token width"]:
        """Return the step c + t of a tap as one product of low-rank factors."""
        down, up = self._pair("channel", tap)
        normed = normalise(z) if self.config.norm else z
        inner = gelu(project(normed.flatten(1, 2), down)).view(*z.shape[:3], -1)
        token_down, token_up = (one.to(z.dtype)[:, None, None] for one in self._pair("token", tap))
        split, turned = (self.config.frames, z.shape[2] // self.config.frames), up.transpose(1, 2)[:, None, None]
        by_frame = self._normed(inner, up).unflatten(2, split)  # adapter row frame token rank
        mixed = gelu((token_down @ by_frame) @ self._centred(turned).to(z.dtype))  # adapter row frame rank width
        left = torch.cat([inner.unflatten(2, split), token_up.expand(*by_frame.shape[:3], -1, -1)], -1)
        right = torch.cat([turned.to(z.dtype).expand(*by_frame.shape[:3], -1, -1), mixed], -2)
        step = left @ right
        return (step if self.config.frames == 1 else step + self._across(step, tap)).flatten(2, 3)

    def _centred(self, turned: Float[Tensor, "*stack rank width"]) -> Float[Tensor, "*stack rank width"]:
        return turned - turned.mean(-1, keepdim=True) if self.config.norm else turned

    def _normed(
        self, inner: Float[Tensor, "adapter row token rank"], up: Float[Tensor, "adapter width rank"]
    ) -> Float[Tensor, "adapter row token rank"]:
        """Return k with LN(U h) = U' k, U' being U with its columns centred: the norm without the width."""
        if not self.config.norm:
            return inner
        centred = self._centred(up.transpose(1, 2))
        spread = (centred @ centred.transpose(1, 2) / up.shape[1])[:, None]  # adapter 1 rank rank
        values = inner.float()
        variance = ((values @ spread) * values).sum(-1, keepdim=True)
        return (values / (variance.clamp_min(0) + EPS).sqrt()).to(inner.dtype)

    def _across(
        self, values: Float[Tensor, "adapter row frame token width"], tap: int
    ) -> Float[Tensor, "adapter row frame token width"]:
        """Return t': mix the tokens at each position across the frames."""
        down, up = (one.to(values.dtype) for one in self._pair("frame", tap))
        normed = normalise(values) if self.config.norm else values
        inner = gelu(torch.einsum("arf,abftw->abrtw", down, normed))
        return torch.einsum("afr,abrtw->abftw", up, inner)

    def _pooled(self, refined: Float[Tensor, "adapter row token width"]) -> Float[Tensor, "adapter row width"]:
        """Apply the final norm and pool; of a clip, the mean over its frames."""
        by_frame = refined.unflatten(2, (self.config.frames, -1))  # each with its own CLS first
        chosen = pooled_tokens(self.config.side_pooling, self.scope.spec)
        values = by_frame[:, :, :, chosen].float()
        gamma, beta = (self.scope.frozen[f"norm.{name}"].to(values) for name in ("weight", "bias"))
        return layer_norm(values, gamma.shape, gamma, beta, self.scope.eps).mean((2, 3))

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Refine tap after tap, then norm, pool and classify."""
        z = refinement = None
        for tap, layer in enumerate(self.scope.layers):
            tokens = batch.tokens[layer]
            z = tokens.expand(self.num_adapters, *tokens.shape) if refinement is None else tokens + refinement
            step = self._step(z, tap)
            if self.config.gate:
                step = step * self.gate[:, tap, None, None, None].to(step.dtype)
            refinement = step if refinement is None or not self.config.accumulate else refinement + step
        assert refinement is not None
        refined = batch.tokens[self.scope.layers[-1]] + refinement
        return project(self.drop(self._pooled(refined)), self.weight) + self.bias[:, None]
