"""Shrunk H-score: how much of the variance of the vectors is between classes (Bao et al. 2019; Ibrahim et al. 2022).

    (1 - a) tr(S_a^-1 S_b),    S_a = (1 - a) S + a tr(S)/D I

with S the covariance of all rows, S_b that of the class means, and a the shrinkage of Ledoit and Wolf (2004), without
which the score explodes where there are not many more rows than columns.
"""

import torch

from .features import Features


def h_score(features: Features) -> float:
    """Return the score; between 0 and the number of classes less one."""
    from sklearn.covariance import ledoit_wolf  # 150 MB that training has no use for

    if not features.values.shape[1]:
        return 0.0
    covariance, shrinkage = ledoit_wolf(features.values.numpy(), assume_centered=True)
    between = features.between.T @ features.between / len(features.between)
    return float((1 - shrinkage) * torch.linalg.solve(torch.from_numpy(covariance), between).trace())
