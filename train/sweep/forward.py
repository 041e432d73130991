"""One forward for every stack that reads the same layers, whatever their families.

All folded queries of a layer meet its tokens in one product; each stack then gets what its own queries pooled.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..adapters.adapter import Adapter
from ..modules.folded import attend
from ..targets.target import Target
from ..tokens.batch import TokenBatch


def forward(stacks: Sequence[Adapter], seen: TokenBatch) -> list[Float[Tensor, "adapter row classes"]]:
    """Return the outputs of every stack for a batch."""
    asked = [stack.queries() for stack in stacks]
    pooled: list[dict[int, Tensor]] = [{} for _ in stacks]
    for layer in sorted({layer for queries in asked for layer in queries}):
        users = [index for index, queries in enumerate(asked) if layer in queries]
        gathered = _gather([asked[index][layer] for index in users], seen.normalised[layer])
        for index, vectors in zip(users, gathered, strict=True):
            pooled[index][layer] = vectors
    return [stack(replace(seen, pooled=mine)) for stack, mine in zip(stacks, pooled, strict=True)]


def _gather(
    asked: list[Float[Tensor, "_adapter _folded width"]], tokens: Float[Tensor, "row token width"]
) -> list[Float[Tensor, "_adapter row _folded width"]]:
    """Attend once with everybody's queries."""
    pooled = attend(tokens, torch.cat([queries.flatten(0, 1) for queries in asked]))
    parts = pooled.split([queries.shape[0] * queries.shape[1] for queries in asked], dim=1)
    return [part.unflatten(1, queries.shape[:2]).transpose(0, 1) for part, queries in zip(parts, asked, strict=True)]


@torch.no_grad()
def predictions(
    stacks: Sequence[Adapter], seen: TokenBatch, target: Target
) -> list[Float[Tensor, "adapter row classes"]]:
    """Return what is kept of the outputs of every stack for a batch."""
    return [target.predictions(outputs) for outputs in forward(stacks, seen)]
