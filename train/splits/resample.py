"""Bootstrap resamples, K-fold partitions and percentile intervals that keep groups together. Seeded."""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


def bootstraps(
    blocks: Int64[Tensor, " row"], count: int, seed: int, most_rows: int | None = None
) -> Iterator[Int64[Tensor, " place"]]:
    """Yield `count` bootstrap resamples: indices of rows, in whole blocks, drawn with replacement.

    A resample has as many blocks as there are, or, with `most_rows`, as many as hold about `most_rows` rows.
    """
    _, places, sizes = blocks.unique(return_inverse=True, return_counts=True)
    members, ends = places.argsort(stable=True), sizes.cumsum(0)  # the rows of block after block
    generator = torch.Generator().manual_seed(seed)
    share = min(1.0, (most_rows or len(blocks)) / max(1, len(blocks)))
    for _ in range(count):
        drawn = torch.randint(len(sizes), (math.ceil(share * len(sizes)),), generator=generator)
        taken = sizes[drawn]
        first = ends[drawn] - taken.cumsum(0)  # of each block drawn: its end among members less that among those taken
        yield members[first.repeat_interleave(taken) + torch.arange(int(taken.sum()))]


def fold_masks(blocks: Int64[Tensor, " row"], count: int, seed: int) -> list[Bool[Tensor, " row"]]:
    """Return a mask of its rows for every cross-validation fold; folds have about equally many blocks.

    With fewer blocks than `count`, there are as many folds as blocks.

    >>> [mask.sum().item() for mask in fold_masks(torch.tensor([0, 0, 1, 1, 2, 2]), count=3, seed=0)]
    [2, 2, 2]
    """
    names, places = blocks.unique(return_inverse=True)
    count = max(1, min(count, len(names)))
    fold_of = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)) % count
    return [(fold_of == fold)[places] for fold in range(count)]


def out_of_bag(drawn: Int64[Tensor, " place"], num_rows: int) -> Int64[Tensor, " missed"]:
    """Return the indices of the rows that were not drawn, ascending.

    >>> out_of_bag(torch.tensor([0, 0, 3]), num_rows=4)
    tensor([1, 2])
    """
    missed = torch.ones(num_rows, dtype=torch.bool)
    missed[drawn] = False
    return missed.nonzero()[:, 0]


def interval(
    score: Callable[[Int64[Tensor, " place"]], float],
    blocks: Int64[Tensor, " row"],
    confidence: float,
    num_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval (low, high) of a score, which `score` computes for any indices of rows.

    Blocks stay whole. Resamples whose score is NaN are left out; if all are NaN, so are both ends.
    """
    scores = torch.tensor([score(drawn) for drawn in bootstraps(blocks, num_resamples, seed)], dtype=torch.float64)
    tail = (1 - confidence) / 2
    low, high = torch.nanquantile(scores, torch.tensor([tail, 1 - tail], dtype=scores.dtype)).tolist()
    return low, high
