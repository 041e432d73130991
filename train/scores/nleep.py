"""NLEEP: how well clusters that nobody labelled foretell the labels (Nguyen et al. 2020; Li et al. 2021).

    mean_i ln sum_z P(y_i | z) P(z | x_i)

with z a component of a Gaussian mixture fitted to the leading principal components. Inferred: five components a class
with a diagonal covariance each, but ten rows a component; four fifths of the variance kept. Noisy for few rows.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from .features import Features

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

PER_CLASS, PER_COMPONENT = 5, 10
VARIANCE_KEPT = 0.8
REGULARISATION = 1e-3  # of the mean variance, on every diagonal


def nleep(features: Features) -> float:
    """Return the mean log likelihood of the labels, in nats."""
    _, singular = features.factors
    if not len(singular):
        return float(torch.special.entr(features.targets.mean(0)).sum().neg())
    share = singular.square().cumsum(0) / singular.square().sum()
    vectors = features.leading(int((share < VARIANCE_KEPT).sum()) + 1).numpy()
    order = np.lexsort(features.values.numpy().T[:1])  # the mixture starts from random rows: the same ones in any order
    clusters = torch.from_numpy(_mixture(vectors[order], features.num_classes).predict_proba(vectors))
    joint = features.targets.T @ clusters  # classes, component
    given = joint / joint.sum(0).clamp_min(torch.finfo(joint.dtype).tiny)
    return float((given[features.labels] * clusters).sum(1).log().mean())


def _mixture(vectors: np.ndarray, num_classes: int) -> "GaussianMixture":
    from sklearn.mixture import GaussianMixture  # 150 MB that training has no use for

    num_components = max(1, min(PER_CLASS * num_classes, len(vectors) // PER_COMPONENT))
    floor = REGULARISATION * float(vectors.var(0).mean())
    mixture = GaussianMixture(num_components, covariance_type="diag", reg_covar=floor, max_iter=200, random_state=0)
    return mixture.fit(vectors)
