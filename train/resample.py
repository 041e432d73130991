"""Rows drawn again, and rows parted: whole blocks at a time, so that no block is on two sides. Seeded."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


def bootstraps(blocks: Int64[Tensor, " row"], count: int, seed: int) -> Iterator[Int64[Tensor, " place"]]:
    """Yield the places of rows drawn with replacement, as many blocks as there are."""
    members = _members(blocks)
    generator = torch.Generator().manual_seed(seed)
    alone = torch.cat(members) if len(members) == len(blocks) else None
    for _ in range(count):
        drawn = torch.randint(len(members), (len(members),), generator=generator)
        yield torch.cat([members[block] for block in drawn.tolist()]) if alone is None else alone[drawn]


def folds(blocks: Int64[Tensor, " row"], count: int, seed: int) -> list[Bool[Tensor, " row"]]:
    """Part rows into folds of about equally many blocks; each fold marks its own rows. At least one block a fold."""
    names, places = blocks.unique(return_inverse=True)
    count = max(1, min(count, len(names)))
    fold_of = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)) % count
    return [(fold_of == fold)[places] for fold in range(count)]


def out_of_bag(drawn: Int64[Tensor, " place"], num_rows: int) -> Int64[Tensor, " missed"]:
    """Return the places that were not drawn."""
    missed = torch.ones(num_rows, dtype=torch.bool)
    missed[drawn] = False
    return missed.nonzero()[:, 0]


def _members(blocks: Int64[Tensor, " row"]) -> list[Int64[Tensor, " place"]]:
    _, places, sizes = blocks.unique(return_inverse=True, return_counts=True)
    return list(places.argsort(stable=True).split(sizes.tolist()))
