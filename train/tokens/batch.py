"""What an adapter sees of a batch of rows, and how it is made from tokens.

Knows nothing of where the tokens come from, nor of who looks at them.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icecore.store import LayerSpec

Reads = Literal["features", "attention", "tokens"]  # what a family looks at: pooled, normalised, as they are
POOLINGS = ("cls", "mean", "cls_normalised", "mean_normalised")


@dataclass(frozen=True)
class TokenBatch:
    """A batch, by layer; empty where nobody asked.

    `features` are pooled vectors in the order of POOLINGS, `normalised` the tokens normalised without affine,
    `pooled` what each adapter's folded queries gathered from `normalised`.
    """

    features: dict[int, Float[Tensor, "row pooling width"]] = field(default_factory=dict)
    tokens: dict[int, Float[Tensor, "row token width"]] = field(default_factory=dict)
    normalised: dict[int, Float[Tensor, "row token width"]] = field(default_factory=dict)
    pooled: dict[int, Float[Tensor, "adapter row query width"]] = field(default_factory=dict)


def normalise(tokens: Float[Tensor, "row token width"], eps: float) -> Float[Tensor, "row token width"]:
    """Give every token mean zero and variance one; every adapter's own gamma and beta come later, folded."""
    return torch.nn.functional.layer_norm(tokens.float(), tokens.shape[-1:], eps=eps)


def pool(
    tokens: Float[Tensor, "row token width"], normalised: Float[Tensor, "row token width"], spec: LayerSpec
) -> Float[Tensor, "row pooling width"]:
    """Pool a layer in the ways that POOLINGS names; zeros where a layer has no CLS, or no patches."""
    pooled: list[Tensor] = []
    for values in (tokens, normalised):
        nothing = torch.zeros_like(values[:, 0])
        pooled.append(values[:, 0] if spec.num_prefix else nothing)
        pooled.append(values[:, spec.num_prefix :].mean(1) if spec.num_tokens > spec.num_prefix else nothing)
    return torch.stack(pooled, 1).float()


def make_batch(
    tokens: dict[int, Float[Tensor, "row token width"]],
    specs: dict[int, LayerSpec],
    eps: float,
    reads: frozenset[Reads],
) -> TokenBatch:
    """Make of some layers' tokens what the families that read them declared (`Adapter.reads`), in float32."""
    normalised = {layer: normalise(values, eps) for layer, values in tokens.items()}
    return TokenBatch(
        features={k: pool(tokens[k], normalised[k], specs[k]) for k in tokens} if "features" in reads else {},
        tokens=tokens if "tokens" in reads else {},
        normalised=normalised if "attention" in reads else {},
    )
