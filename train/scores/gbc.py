"""GBC: how little the classes overlap, each taken as a Gaussian (Pandy et al. 2022).

    - sum_{i != j} exp(-D_ij),    D_ij = |mu_i - mu_j|^2 / 8v + d/2 ln(v / sqrt(v_i v_j)),    v = (v_i + v_j) / 2

with D_ij the distance of Bhattacharyya in the d = 64 leading principal components, and one variance v_i a class in all
directions. Inferred: the 64, and that no class is narrower than a thousandth of the mean variance, which gives a class
of a single row a width. Poor where a class has several modes.
"""

import torch

from .features import Features

NUM_COMPONENTS = 64
NARROWEST = 1e-3


def gbc(features: Features) -> float:
    """Return the score; between minus the number of ordered pairs of classes, where nothing tells them apart, and 0."""
    vectors, counts = features.leading(NUM_COMPONENTS), features.targets.sum(0)
    size = vectors.shape[1]
    if not size:
        return -float(len(counts) * (len(counts) - 1))
    means = features.targets.T @ vectors / counts[:, None]
    spread = features.targets.T @ (vectors - means[features.labels]).square().mean(1) / counts  # classes
    variance = spread.clamp_min(NARROWEST * float(vectors.square().mean()))
    between = (variance[:, None] + variance) / 2  # class, class
    distance = torch.cdist(means, means).square() / (8 * between)
    distance += size / 2 * (between.log() - (variance[:, None].log() + variance.log()) / 2)
    return -float(torch.exp(-distance).fill_diagonal_(0).sum())
