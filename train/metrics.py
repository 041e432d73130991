"""Every figure of an adapter over the validation rows, from its kept predictions: accuracy, ranking, calibration.

Knows probabilities and labels, nothing of adapters or tokens.
"""

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from .target import score

NUM_BINS = 15  # of confidence, equally wide (Guo et al. 2017)


def metrics(probabilities: Float[Tensor, "row classes"], labels: Int64[Tensor, " row"]) -> dict[str, float]:
    """Return the figures by name; all are shares or nats, NaN where there is no row."""
    if not len(labels):
        return dict.fromkeys(("top1", "top5", "mean_per_class", "mean_average_precision", "nll", "ece"), math.nan)
    scores = score(probabilities, labels)
    most_probable = probabilities.topk(min(5, probabilities.shape[1]), dim=1).indices
    there = labels.unique()
    return {
        "top1": scores.top1,
        "top5": float((most_probable == labels[:, None]).any(1).double().mean()),
        "mean_per_class": float(torch.stack([scores.correct[labels == label].mean() for label in there]).mean()),
        "mean_average_precision": float(average_precision(probabilities[:, there], labels[:, None] == there).mean()),
        "nll": scores.mean_nll,
        "ece": calibration_error(probabilities.max(1).values, scores.correct),
    }


def average_precision(
    scores: Float[Tensor, "row classes"], relevant: Bool[Tensor, "row classes"]
) -> Float[Tensor, " classes"]:
    """Return, for each class, the mean precision at its relevant rows; rows of equal score count together."""
    values, order = scores.sort(0, descending=True)
    hits = relevant.gather(0, order).double()
    place = torch.arange(len(values))[:, None].expand_as(values)
    ends = torch.ones_like(hits, dtype=torch.bool)
    ends[:-1] = values[:-1] != values[1:]
    end = torch.where(ends, place, len(values)).flip(0).cummin(0).values.flip(0)  # of the rows of equal score
    precision = hits.cumsum(0).gather(0, end) / (end + 1)
    return (hits * precision).sum(0) / hits.sum(0)


def calibration_error(confidence: Float[Tensor, " row"], correct: Float[Tensor, " row"]) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, bin by bin."""
    place = (confidence.double() * NUM_BINS).ceil().long().clamp(1, NUM_BINS) - 1
    gaps = torch.zeros(NUM_BINS, dtype=torch.float64).index_add_(0, place, confidence.double() - correct.double())
    return float(gaps.abs().sum() / len(confidence))
