"""Predictions of trained adapters for rows of a store, in float32, whatever they were trained in.

Every prediction that is kept is made here, so that validation, test and a bundle on raw images agree.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from icecore.store import FrozenBackbone, Store

from .adapter import Adapter, make_scope
from .adapters import get_adapter
from .candidate import Candidate
from .feed import StoreFeed, block_rows
from .forward import predictions
from .seen import Reads
from .target import Target


def predict(
    store: Store,
    rows: Int64[np.ndarray, " row"],
    trained: Mapping[str, dict[str, Tensor]],
    candidates: Iterable[Candidate],
    target: Target,
    device: torch.device,
) -> dict[str, Float[Tensor, "row classes"]]:
    """Return a table of predictions for every candidate, by id; each layer is read once. No row, no table."""
    if not len(rows):
        return {}
    backbone = store.frozen()
    by_layers: dict[tuple[int, ...], list[Candidate]] = {}
    for candidate in candidates:
        by_layers.setdefault(candidate.layers, []).append(candidate)
    found: dict[str, Tensor] = {}
    for layers, group in by_layers.items():
        adapters = [restore(store, backbone, one, trained[one.adapter_id], device) for one in group]
        reads = frozenset[Reads]().union(*(adapter.reads for adapter in adapters))
        feed = StoreFeed(store, rows, layers, reads, adapters[0].scope.eps, device, in_order=True)
        batches = feed.batches(torch.arange(len(rows)), block_rows(store, layers))
        parts = [predictions(adapters, seen, target) for seen in batches]
        for candidate, tables in zip(group, zip(*parts, strict=True), strict=True):
            found[candidate.adapter_id] = torch.cat([table[0].cpu() for table in tables])
    return found


def restore(
    store: Store, backbone: FrozenBackbone, candidate: Candidate, tensors: dict[str, Tensor], device: torch.device
) -> Adapter:
    """Return a trained adapter as a stack of one."""
    family = get_adapter(candidate.adapter)
    scope = make_scope(store.spec, backbone, candidate.layers, family)
    stacked = {name: tensor[None] for name, tensor in tensors.items()}
    return family(family.Config.model_validate(candidate.config), scope, stacked).to(device)
