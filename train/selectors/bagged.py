"""Forward selection, many times over: from rows drawn again and some of the adapters, the mean of all ensembles.

Caruana et al. (2004) draw adapters; here the rows are drawn as well (Breiman 1996). One selection follows the luck of
few validation rows into few members; the mean of many keeps what most draws agree on, and gives part of the weight to
near equals, as a plain average does. Inferred: the numbers below, chosen among few: docs/results/selection.md.
"""

import math

import torch

from ..kept import Kept
from ..resample import bootstraps
from ..settings import SelectSettings
from .greedy import forward_selection

NUM_BAGS = 40
NUM_STEPS = 10
SHARE, FEWEST = 1 / 4, 10  # of the adapters that a bag chooses from: a share, but no fewer than that where there are
LEAST = 0.002


def bagged(kept: Kept, settings: SelectSettings) -> dict[str, float]:
    """Return the mean weights of all selections, less those that are next to nothing."""
    weights = torch.zeros(len(kept.candidates), dtype=torch.float64)
    generator = torch.Generator().manual_seed(settings.seed)
    num_drawn = max(math.ceil(SHARE * len(weights)), min(FEWEST, len(weights)))
    for drawn in bootstraps(kept.blocks, NUM_BAGS, settings.seed):
        some = torch.randperm(len(weights), generator=generator)[:num_drawn].sort().values
        weights[some] += forward_selection(kept.evidence[some][:, drawn], kept.target, NUM_STEPS)
    weights /= weights.sum()
    weights = torch.where(weights < LEAST, 0.0, weights)
    weights = (weights / weights.sum()).tolist()
    return {one.adapter_id: weight for one, weight in zip(kept.candidates, weights, strict=True) if weight > 0}
