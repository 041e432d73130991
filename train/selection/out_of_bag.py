"""What a choice is worth on rows that it has not seen, without opening the test split.

The validation figure of what was chosen by it is too good: of many, the luckiest wins. So the rows are drawn again,
the whole choice is made anew from those drawn, and measured on those that were not (Efron & Tibshirani 1997). Each
choice knows about 63 % of the rows, so the estimate leans to the low side.
"""

from collections.abc import Callable, Sequence

import torch

from ..runs.validation_predictions import Places, ValidationPredictions
from ..settings import SelectSettings
from ..splits.resample import bootstraps, out_of_bag
from .selection import OutOfBagEstimate

NUM_CHOICES = 50


def out_of_bag_estimate(
    kept: ValidationPredictions,
    settings: SelectSettings,
    choose: Callable[[Sequence[Places]], Sequence[dict[str, float]]],
    naive: float,
) -> OutOfBagEstimate | None:
    """Return the mean over choices, each from a draw of rows, and how far the middle of them spread.

    None where every draw has all rows.
    """
    drawn = [(draw, out_of_bag(draw, len(kept.rows))) for draw in bootstraps(kept.blocks, NUM_CHOICES, settings.seed)]
    draws, unseen = [draw for draw, rest in drawn if len(rest)], [rest for _, rest in drawn if len(rest)]
    if not draws:
        return None
    weights = kept.weights(choose(draws))
    losses = [float(mine[rest].mean()) for mine, rest in zip(kept.losses_of(weights), unseen, strict=True)]
    found = zip(kept.verdicts_of(weights, unseen), unseen, strict=True)
    scores = torch.cat([kept.target.scores(verdicts[None], kept.labels[rest]) for verdicts, rest in found])
    known = scores[scores.isfinite()]
    if not len(known):
        return None
    tail = (1 - settings.confidence) / 2
    low, high = torch.quantile(known, torch.tensor([tail, 1 - tail], dtype=known.dtype)).tolist()
    score = float(known.mean())
    loss = sum(losses) / len(losses)
    return OutOfBagEstimate(score=score, loss=loss, low=low, high=high, num_choices=len(known), optimism=naive - score)
