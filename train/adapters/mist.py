"""MIST: a small low-rank attention network on the sum of the layers (arXiv 2406.17559, Minimal Interaction).

    z = LN(sum over layers of x_l)
    z <- z + U_a MHA(V_q LN(z), V_k LN(z), V_v LN(z));    z <- z + U_m GELU(V_m LN(z))        `depth` times
    logits = W pool(LN(z)) + b                  V: rank x width, U: width x rank

6 rank width numbers a block, and the classifier. It needs the sum of the layers and nothing else, token x width floats
an image however deep the backbone: a store that holds the sum (`extract --layers sum`) is read in its place.

Published: the sum (a weighted one), and a small low-rank attention network that it feeds. Inferred: equal weights, the
blocks, one head, norms without affine, no biases, V from U(-1/sqrt(n), 1/sqrt(n)); U begins as zeros, so that the first
step is a linear probe's on the sum.
"""

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
from .layers_and_heads import SidePooling, incompatible_layers, ladder, pooled_tokens, refuse_pooling


class MISTConfig(Frozen):
    """Rank and depth of the network, and the tokens that it pools."""

    rank: int = Field(default=16, ge=1)
    depth: int = Field(default=2, ge=1)
    side_pooling: SidePooling = "cls"


class MIST(Adapter[MISTConfig]):
    """A stack of low-rank attention networks on the sum of the same layers."""

    Config = MISTConfig
    reads = frozenset({"tokens"})
    reads_layer_sum = True
    weight: Tensor
    bias: Tensor

    @classmethod
    def layer_groups(cls, config: MISTConfig, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return all layers as one group."""
        return ladder(layers)

    @classmethod
    def incompatibility(cls, config: MISTConfig, scope: Scope) -> str | None:
        """Refuse unequal layers, and missing patches or CLS."""
        if reason := refuse_pooling(config.side_pooling, scope):
            return reason
        return incompatible_layers(scope)

    @classmethod
    def init_parameters(cls, config: MISTConfig, scope: Scope, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the tensors of one network, as the docstring of the module says."""
        width, rank, depth = scope.spec.width, config.rank, config.depth
        drawn = {
            f"{name}_down": uniform(generator, depth, count * rank, width)
            for name, count in (("attention", 3), ("mlp", 1))
        }
        drawn |= {f"{name}_up": torch.zeros(depth, width, rank) for name in ("attention", "mlp")}
        return drawn | classifier(generator, scope.num_outputs, width)

    def _low_rank(
        self, name: str, block: int, z: Float[Tensor, "adapter row token width"]
    ) -> Float[Tensor, "adapter row token width"]:
        """Return the branch of an attention or of an MLP, without the residual."""
        inner = project(normalise(z).flatten(1, 2), self.get_parameter(f"{name}_down")[:, block])
        if name == "attention":
            query, key, value = inner.unflatten(1, z.shape[1:3]).flatten(0, 1).chunk(3, -1)
            inner = scaled_dot_product_attention(query, key, value).unflatten(0, z.shape[:2]).flatten(1, 2)
        else:
            inner = gelu(inner)
        return project(inner, self.get_parameter(f"{name}_up")[:, block]).view(z.shape)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "adapter row classes"]:
        """Sum the layers, refine the sum, normalise, pool and classify."""
        total = torch.stack([batch.tokens[layer] for layer in self.scope.layers]).sum(0)
        z = normalise(total).expand(self.num_adapters, *total.shape)
        for block in range(self.config.depth):
            z = z + self._low_rank("attention", block, z)
            z = z + self._low_rank("mlp", block, z)
        chosen = pooled_tokens(self.config.side_pooling, self.scope.spec)
        pooled = normalise(z[:, :, chosen].float()).mean(2)
        return project(self.drop(pooled), self.weight) + self.bias[:, None]
