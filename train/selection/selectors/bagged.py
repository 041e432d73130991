"""Forward selection, many times over: from rows drawn again and some of the adapters, the mean of all ensembles.

Caruana et al. (2004) draw adapters; here the rows are drawn as well (Breiman 1996). One selection follows the luck of
few validation rows into few members; the mean of many keeps what most draws agree on, and gives part of the weight to
near equals, as a plain average does. A bag of many rows draws fewer than there are (subagging: Buehlmann & Yu 2002):
it is the mean that is to be sure. Inferred: the numbers below, chosen among few: docs/results/selection.md.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from ...runs.validation_predictions import Places, ValidationPredictions, Weights
from ...settings import SelectSettings
from ...splits.resample import bootstraps
from .greedy import forward_selection

NUM_BAGS = 40
NUM_STEPS = 10
SHARE, FEWEST = 1 / 4, 10  # of the adapters that a bag chooses from: a share, but no fewer than that where there are
MOST_ROWS = 2_000  # most rows that a bag draws
LEAST = 0.002


def bagged(kept: ValidationPredictions, draws: Sequence[Places], settings: SelectSettings) -> Weights:
    """Return the mean weights of all bags; weights below `LEAST` are 0 and the others sum to 1."""
    weights = torch.stack([_mean_of_bags(kept, drawn, settings.seed) for drawn in draws])
    weights = torch.where(weights < LEAST, 0.0, weights)
    return weights / weights.sum(1, keepdim=True)


def _mean_of_bags(kept: ValidationPredictions, drawn: Places, seed: int) -> Float64[Tensor, " adapter"]:
    weights = torch.zeros(len(kept.candidates), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    num_drawn = max(math.ceil(SHARE * len(weights)), min(FEWEST, len(weights)))
    for bag in bootstraps(kept.blocks[drawn], NUM_BAGS, seed, MOST_ROWS):
        some = torch.randperm(len(weights), generator=generator)[:num_drawn].sort().values
        weights[some] += forward_selection(kept, some, drawn[bag], NUM_STEPS)
    return weights / weights.sum()
