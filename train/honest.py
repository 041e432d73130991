"""What a choice is worth on rows that it has not seen, without opening the test split.

The validation figure of what was chosen by it is too good: of many, the luckiest wins. So the rows are drawn again,
the whole choice is made anew from those drawn, and measured on those that were not (Efron & Tibshirani 1997). Each
choice knows about 63 % of the rows, so the estimate leans to the low side.
"""

import math
from collections.abc import Callable

import torch

from .kept import Kept
from .resample import bootstraps, out_of_bag
from .selection import Honest
from .settings import SelectSettings

NUM_CHOICES = 50


def honest(
    kept: Kept, settings: SelectSettings, choose: Callable[[Kept], dict[str, float]], naive: float
) -> Honest | None:
    """Return the mean over choices, and how far the middle of them spread; None where every draw has all rows."""
    scores: list[float] = []
    losses: list[float] = []
    for drawn in bootstraps(kept.blocks, NUM_CHOICES, settings.seed):
        if len(rest := out_of_bag(drawn, len(kept.rows))):
            unseen = kept.at(rest)
            found = kept.target.score(unseen.mix(choose(kept.at(drawn))), unseen.labels)
            scores.append(found.score)
            losses.append(found.loss)
    known = torch.tensor([score for score in scores if math.isfinite(score)], dtype=torch.float64)
    if not len(known):
        return None
    tail = (1 - settings.confidence) / 2
    low, high = torch.quantile(known, torch.tensor([tail, 1 - tail], dtype=known.dtype)).tolist()
    score = float(known.mean())
    loss = sum(losses) / len(losses)
    return Honest(score=score, loss=loss, low=low, high=high, num_choices=len(known), optimism=naive - score)
