"""One forward pass for all stacks that read the same layers, whatever their families.

The folded queries of all stacks attend to a layer's tokens in one product; each stack then gets its own queries' share.
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


def forward(stacks: Sequence[Adapter], batch: TokenBatch) -> list[Float[Tensor, "adapter row classes"]]:
    """Return the outputs of every stack for a batch, in the order of the stacks."""
    all_queries = [stack.queries() for stack in stacks]
    pooled: list[dict[int, Tensor]] = [{} for _ in stacks]
    for layer in sorted({layer for queries in all_queries for layer in queries}):
        users = [index for index, queries in enumerate(all_queries) if layer in queries]
        gathered = _gather([all_queries[index][layer] for index in users], batch.normalised[layer])
        for index, vectors in zip(users, gathered, strict=True):
            pooled[index][layer] = vectors
    return [stack(replace(batch, pooled=vectors)) for stack, vectors in zip(stacks, pooled, strict=True)]


def _gather(
    queries_of: list[Float[Tensor, "_adapter _folded width"]], tokens: Float[Tensor, "row token width"]
) -> list[Float[Tensor, "_adapter row _folded width"]]:
    """Attend once with the queries of all stacks; return the pooled vectors of each stack."""
    pooled = attend(tokens, torch.cat([queries.flatten(0, 1) for queries in queries_of]))
    parts = pooled.split([queries.shape[0] * queries.shape[1] for queries in queries_of], dim=1)
    return [
        part.unflatten(1, queries.shape[:2]).transpose(0, 1) for part, queries in zip(parts, queries_of, strict=True)
    ]


@torch.no_grad()
def predictions(
    stacks: Sequence[Adapter], batch: TokenBatch, target: Target
) -> list[Float[Tensor, "adapter row classes"]]:
    """Return the predictions of every stack for a batch, in the form that the target keeps."""
    return [target.predictions(outputs) for outputs in forward(stacks, batch)]
