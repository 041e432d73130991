"""What a choice is worth on rows that it has not seen, without opening the test split.

The validation figure of what was chosen by it is too good: of many, the luckiest wins. So the rows are drawn again,
the whole choice is made anew from those drawn, and measured on those that were not (Efron & Tibshirani 1997). Each
choice knows about 63 % of the rows, so the estimate leans to the low side.
"""

from collections.abc import Sequence

import torch

from ..runs.validation_predictions import Places, ValidationPredictions
from ..settings import SelectSettings
from ..splits.resample import bootstraps, out_of_bag
from .selection import OutOfBagEstimate

NUM_CHOICES = 50


def redrawn(kept: ValidationPredictions, settings: SelectSettings) -> list[Places]:
    """Return the draws of rows from which the choice is made anew; none that has all rows."""
    draws = bootstraps(kept.blocks, NUM_CHOICES, settings.seed)
    return [draw for draw in draws if len(out_of_bag(draw, len(kept.rows)))]


def out_of_bag_estimate(
    kept: ValidationPredictions,
    settings: SelectSettings,
    draws: Sequence[Places],
    choices: Sequence[dict[str, float]],
    naive: float,
) -> OutOfBagEstimate | None:
    """Return the mean over choices, each made from a draw of rows, and how far the middle of them spread.

    None where there is no draw.
    """
    if not draws:
        return None
    unseen = [out_of_bag(draw, len(kept.rows)) for draw in draws]
    weights = kept.weights(choices)
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
