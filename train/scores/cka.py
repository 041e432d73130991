"""Linear centred kernel alignment of the vectors with one-hot labels (Kornblith et al. 2019).

Sees directions of large variance alone: for breaking ties, and for telling layers apart that say the same.
"""

from .features import Features


def cka(features: Features) -> float:
    """Return ||Y^T F||^2 / (||F^T F|| ||Y^T Y||), both centred; between 0 and 1."""
    vectors, targets = features.values, features.centred_targets
    _, singular = features.factors
    size = singular.pow(4).sum().sqrt() * (targets.T @ targets).norm()
    return float((targets.T @ vectors).square().sum() / size) if size else 0.0
