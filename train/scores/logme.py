"""LogME: how probable the labels are under Bayesian linear regression from the vectors (You et al. 2021).

    y ~ N(bias, (I + F F^T / ratio) / beta),    ratio = alpha / beta

is the model evidence, weights integrated out. The best beta for a ratio has a closed form; the best ratio is looked
for on a grid, where the fixed point of the paper can run away. The logarithm of the determinant holds all D terms, so
the score does not depend on the scale of the vectors, also for N < D. Inferred: the bias is integrated out as well,
under a flat prior, which leaves N - 1 degrees of freedom.
"""

import math

import torch

from .features import Features

RATIOS = torch.logspace(-8, 8, 1601, dtype=torch.float64)  # times the mean of s^2


def logme(features: Features) -> float:
    """Return the mean over classes of the greatest log evidence, in nats a degree of freedom."""
    left, singular = features.factors
    freedom = len(features.labels) - 1
    variance = singular.square()
    grown = 1 + variance[:, None] / (RATIOS * variance.mean())  # rank, ratio
    inside = (left.T @ features.centred_targets).square()  # rank, classes
    outside = features.centred_targets.square().sum(0) - inside.sum(0)
    misfit = outside[:, None].clamp_min(0) + inside.T @ grown.reciprocal()  # classes, ratio
    log_beta = torch.log(freedom / misfit)
    log_evidence = (freedom * (log_beta - math.log(2 * math.pi) - 1) - grown.log().sum(0)) / 2
    return float(log_evidence.amax(1).mean() / freedom)
