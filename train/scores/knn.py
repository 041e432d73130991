"""k nearest neighbours: the share of rows whose neighbours, by cosine, vote for their class (Wu et al. 2018).

A row's own group has no vote. Neighbours as near as the last one that counts vote as well, so no order matters.
"""

import torch
from torch.nn.functional import normalize

from .features import Features

NUM_NEIGHBOURS = 10
TEMPERATURE = 0.07
BLOCK_ROWS = 1024


def knn(features: Features) -> float:
    """Return the leave-one-group-out accuracy; a vote weighs exp(cosine / 0.07)."""
    vectors, targets = normalize(features.values, dim=1).float(), features.targets.float()
    correct = 0
    for block in torch.arange(len(vectors)).split(BLOCK_ROWS):
        near = vectors[block] @ vectors.T  # block, row
        near[features.groups[block, None] == features.groups] = -torch.inf
        last = near.topk(min(NUM_NEIGHBOURS, len(vectors)), dim=1).values[:, -1:]
        votes = torch.exp((near - near.amax(1, keepdim=True)) / TEMPERATURE).where(near >= last, 0)
        correct += int(((votes @ targets).argmax(1) == features.labels[block]).sum())
    return correct / len(vectors)
