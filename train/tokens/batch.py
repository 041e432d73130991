"""A batch of rows as adapters see it, computed from the tokens of some layers.

The module does not know where the tokens come from, nor which adapters read them.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icecore.store import LayerSpec

from ..modules.norms import normalise

Reads = Literal["features", "normalised", "tokens"]  # the tables of a TokenBatch that a family reads
POOLINGS = ("cls", "mean", "cls_normalised", "mean_normalised")


@dataclass(frozen=True)
class TokenBatch:
    """The tokens of a batch in up to four forms, each a table by layer; a table that no family reads is empty.

    `tokens` are the layer's tokens, `normalised` the same after layer normalisation without an affine, `features` the
    pooled vectors in the order of `POOLINGS`, and `pooled` the vectors that each adapter's folded queries gathered
    from `normalised`.
    """

    features: dict[int, Float[Tensor, "row pooling width"]] = field(default_factory=dict)
    tokens: dict[int, Float[Tensor, "row token width"]] = field(default_factory=dict)
    normalised: dict[int, Float[Tensor, "row token width"]] = field(default_factory=dict)
    pooled: dict[int, Float[Tensor, "adapter row query width"]] = field(default_factory=dict)


def pool(
    tokens: Float[Tensor, "row token width"], normalised: Float[Tensor, "row token width"], spec: LayerSpec
) -> Float[Tensor, "row pooling width"]:
    """Pool the tokens of a layer in the ways that `POOLINGS` names, in float32.

    A pooling whose tokens the layer does not have (no CLS, or no patches) is zero.
    """
    pooled: list[Tensor] = []
    for values in (tokens, normalised):
        absent = torch.zeros_like(values[:, 0])
        pooled.append(values[:, 0] if spec.num_prefix else absent)
        pooled.append(values[:, spec.num_prefix :].mean(1) if spec.num_tokens > spec.num_prefix else absent)
    return torch.stack(pooled, 1).float()


def make_batch(
    tokens: dict[int, Float[Tensor, "row token width"]],
    specs: dict[int, LayerSpec],
    eps: float,
    reads: frozenset[Reads],
) -> TokenBatch:
    """Compute from the tokens of each layer the tables that `reads` names, in float32.

    `eps` is the epsilon of the backbone's norms; `reads` is the union of `Adapter.reads` over the families.

    >>> import torch
    >>> from icecore.store import LayerSpec
    >>> spec = LayerSpec(num_tokens=5, width=8, num_prefix=1, grid=(2, 2))
    >>> batch = make_batch({3: torch.randn(2, 5, 8)}, {3: spec}, 1e-6, frozenset({"features"}))
    >>> batch.features[3].shape, batch.tokens
    (torch.Size([2, 4, 8]), {})
    """
    normalised = {layer: normalise(values.float(), eps) for layer, values in tokens.items()}
    return TokenBatch(
        features={k: pool(tokens[k], normalised[k], specs[k]) for k in tokens} if "features" in reads else {},
        tokens=tokens if "tokens" in reads else {},
        normalised=normalised if "normalised" in reads else {},
    )
