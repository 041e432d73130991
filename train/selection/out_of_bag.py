"""The out-of-bag estimate of a choice: its score on rows that it has not seen, without opening the test split.

The validation score of a choice made by validation is optimistic: among many adapters, the luckiest wins. Therefore the
whole choice is repeated on bootstrap draws of the rows and measured on the rows that were not drawn (Efron & Tibshirani
1997). A draw has about 63 % of the rows, so the estimate is slightly pessimistic.
"""

from collections.abc import Sequence

import torch

from ..runs.validation_predictions import Places, ValidationPredictions
from ..settings import SelectSettings
from ..splits.resample import bootstraps, out_of_bag
from .selection import OutOfBagEstimate

NUM_CHOICES = 50


def redrawn(kept: ValidationPredictions, settings: SelectSettings) -> list[Places]:
    """Return the bootstrap draws on which the choice is repeated, without draws that leave no row out."""
    draws = bootstraps(kept.blocks, NUM_CHOICES, settings.seed)
    return [draw for draw in draws if len(out_of_bag(draw, len(kept.rows)))]


def out_of_bag_estimate(
    kept: ValidationPredictions,
    settings: SelectSettings,
    draws: Sequence[Places],
    choices: Sequence[dict[str, float]],
    naive: float,
) -> OutOfBagEstimate | None:
    """Return the mean score over choices, each made from one draw, and the percentile interval of their scores.

    `naive` is the validation score of the final choice, from which the optimism is computed. None if there is no draw,
    or no score is finite.
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
