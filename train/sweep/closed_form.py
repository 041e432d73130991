"""Adapters that have a closed form, from one walk through the rows for all of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..adapters.adapter import Adapter
from ..targets.target import Target
from ..tokens.feed import BLOCK_ROWS, Data


def solve(adapters: Sequence[Adapter], data: Data, num_views: int, target: Target) -> list[float]:
    """Solve stacks of one, all views of a row in that row's group; return their losses on rows left out.

    What they need of the rows (`Adapter.regressors`) is held in memory, and solved on the CPU.
    """
    num_rows = len(data.labels)
    gathered: list[list[Tensor]] = [[] for _ in adapters]
    places = torch.arange(num_rows * num_views, device=data.labels.device)
    for seen in data.feed.batches(places.split(BLOCK_ROWS)):
        for parts, adapter in zip(gathered, adapters, strict=True):
            parts.append(adapter.regressors(seen).detach().cpu())
    labels = data.labels.cpu().repeat(num_views, *[1] * (data.labels.ndim - 1))
    groups = (torch.arange(num_rows) if data.groups is None else data.groups).repeat(num_views)
    return [
        adapter.solve(torch.cat(parts), labels, groups, target)
        for adapter, parts in zip(adapters, gathered, strict=True)
    ]
