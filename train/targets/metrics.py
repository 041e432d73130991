"""Metrics of ranking and calibration, computed from predicted probabilities and labels."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NUM_BINS = 15  # bins of confidence, equally wide (Guo et al. 2017)


def average_precision(
    scores: Float[Tensor, "row classes"], relevant: Bool[Tensor, "row classes"]
) -> Float[Tensor, " classes"]:
    """Return the mean precision at the relevant rows of each class; rows of equal score share one rank."""
    values, order = scores.sort(0, descending=True)
    hits = relevant.gather(0, order).double()
    place = torch.arange(len(values))[:, None].expand_as(values)
    ends = torch.ones_like(hits, dtype=torch.bool)
    ends[:-1] = values[:-1] != values[1:]
    end = torch.where(ends, place, len(values)).flip(0).cummin(0).values.flip(0)  # last row of equal score
    precision = hits.cumsum(0).gather(0, end) / (end + 1)
    return (hits * precision).sum(0) / hits.sum(0)


def calibration_error(confidence: Float[Tensor, " row"], correct: Float[Tensor, " row"]) -> float:
    """Return the expected calibration error: the mean gap of confidence and accuracy over bins, weighted by rows."""
    place = (confidence.double() * NUM_BINS).ceil().long().clamp(1, NUM_BINS) - 1
    gaps = torch.zeros(NUM_BINS, dtype=torch.float64).index_add_(0, place, confidence.double() - correct.double())
    return float(gaps.abs().sum() / len(confidence))
