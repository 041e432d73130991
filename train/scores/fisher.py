"""The Fisher ratio: variance between classes over variance within, whatever the directions."""

from .features import Features


def fisher(features: Features) -> float:
    """Return tr(S_b) / tr(S_w)."""
    between = features.between.square().sum()
    within = (features.values - features.between).square().sum()
    return float(between / within) if within > 0 else 0.0
