"""Ladder side tuning: a narrow network beside the backbone, fed by each layer through learned gates (arXiv 2206.06522).

    s_0 = down_0(z_0)                                                   the rung of the embeddings; 0 without them
    u = g_l down_l(z_l) + (1 - g_l) s_{l-1},    g_l = sigmoid(a_l / 0.1)              down: width / reduction
    v = u + MHA(LN(u));    s_l = v + MLP(LN(v))        one light block a layer; MLP: w, 4 w, w, with GELU
    logits = W pool(LN(s_L)) + b

z_l are the tokens of layer l, normalised without affine. The ladder's gates and widths are published; that every a_l
begins at zero too. Inferred: the block (published are pruned copies of the backbone's own), the norms without affine,
heads of 64 channels, weights from U(-1/sqrt(n), 1/sqrt(n)), and that the up-projection joins the classifier. `block`
"mlp" leaves the attention out: the tokens then meet in `side_pooling` alone.
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import gelu, scaled_dot_product_attention

from icecore.store import Frozen

from ..modules.folded import project
from ..modules.initial import classifier, uniform
from ..modules.norms import normalise
from ..tokens.batch import TokenBatch
from .adapter import Adapter, Scope
from .layers_and_heads import SidePooling, default_heads, incompatible_layers, ladder, pooled_tokens, refuse_pooling

TEMPERATURE = 0.1  # of the gates
EXPANSION = 4


class LSTConfig(Frozen):
    """The shape of the side network; the embeddings have a rung, and every `every`-th block, counted from the last."""

    reduction: int = Field(default=8, ge=1)
    block: Literal["attention", "mlp"] = "attention"
    every: int = Field(default=1, ge=1)
    side_pooling: SidePooling = "mean"


class LST(Adapter[LSTConfig]):
    """A stack of ladder side networks on the same layers."""

    Config = LSTConfig
    reads = frozenset({"normalised"})
    gate: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def layer_groups(cls, config: LSTConfig, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return all layers that have a rung as one group, the embeddings included."""
        (blocks,) = ladder(layers, config.every)
        return [(0, *blocks) if layers[0] == 0 and blocks != (0,) else blocks]

    @classmethod
    def incompatibility(cls, config: LSTConfig, scope: Scope) -> str | None:
        """Refuse layers that differ, tokens without patches or CLS, and a reduction that does not divide the width."""
        if scope.spec.width % config.reduction:
            return f"reduction {config.reduction}: expected a divisor of the width {scope.spec.width}"
        if reason := refuse_pooling(config.side_pooling, scope):
            return reason
        return incompatible_layers(scope)

    @classmethod
    def init_parameters(cls, config: LSTConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one side network, as the docstring of the module says."""
        num_blocks, width = len(_blocks(scope)), scope.spec.width // config.reduction
        shapes = {"down": (width, scope.spec.width)}
        if config.block == "attention":
            shapes |= {"joint": (3 * width, width), "out": (width, width)}
        shapes |= {"expand": (EXPANSION * width, width), "contract": (width, EXPANSION * width)}
        drawn: dict[str, Tensor] = {"gate": torch.zeros(num_blocks)}
        for name, (outputs, inputs) in shapes.items():
            num_rungs = len(scope.layers) if name == "down" else num_blocks
            weight = uniform(generator, num_rungs, outputs, inputs)
            drawn |= {f"{name}_weight": weight, f"{name}_bias": torch.zeros(num_rungs, outputs)}
        return drawn | classifier(generator, scope.num_outputs, width)

    def _linear(
        self, name: str, rung: int, inputs: Float[Tensor, "adapter row token inputs"]
    ) -> Float[Tensor, "adapter row token outputs"]:
        weight, bias = (self.get_parameter(f"{name}_{kind}")[:, rung] for kind in ("weight", "bias"))
        product = project(inputs.flatten(1, 2), weight) + bias[:, None].to(inputs.dtype)
        return product.unflatten(1, inputs.shape[1:3])

    def _down(self, rung: int, tokens: Float[Tensor, "row token width"]) -> Float[Tensor, "adapter row token inner"]:
        """Narrow the tokens, one product for all adapters."""
        weight, bias = (self.get_parameter(f"down_{kind}")[:, rung] for kind in ("weight", "bias"))
        product = project(tokens.flatten(0, 1)[None], weight.flatten(0, 1)[None])[0]
        by_adapter = product.unflatten(1, weight.shape[:2]).unflatten(0, tokens.shape[:2]).permute(2, 0, 1, 3)
        return by_adapter + bias[:, None, None].to(tokens.dtype)

    def _attention(self, rung: int, u: Float[Tensor, "adapter row token inner"]) -> Tensor:
        num_heads = default_heads(u.shape[-1])
        joint = self._linear("joint", rung, normalise(u)).unflatten(-1, (3, num_heads, -1))
        query, key, value = joint.flatten(0, 1).permute(2, 0, 3, 1, 4)  # adapter x row, head, token, inner
        gathered = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self._linear("out", rung, gathered.unflatten(0, u.shape[:2]))

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Climb rung by rung, then norm, pool and classify."""
        blocks = _blocks(self.scope)
        first = len(self.scope.layers) - len(blocks)  # whether the embeddings have a rung
        side = self._down(0, batch.normalised[0]) if first else None
        for rung, layer in enumerate(blocks):
            narrow = self._down(first + rung, batch.normalised[layer])
            gate = torch.sigmoid(self.gate[:, rung] / TEMPERATURE)[:, None, None, None].to(narrow.dtype)
            side = gate * narrow if side is None else gate * narrow + (1 - gate) * side
            if self.config.block == "attention":
                side = side + self._attention(rung, side)
            side = side + self._linear("contract", rung, gelu(self._linear("expand", rung, normalise(side))))
        assert side is not None
        chosen = pooled_tokens(self.config.side_pooling, self.scope.spec)
        pooled = normalise(side[:, :, chosen].float()).mean(2)
        return project(self.drop(pooled), self.weight) + self.bias[:, None]


def _blocks(scope: Scope) -> tuple[int, ...]:
    """Return the layers that are outputs of blocks; all where there is no other."""
    return tuple(layer for layer in scope.layers if layer) or scope.layers
