"""Predictions of trained adapters for rows of a store, in float32, whatever they were trained in.

Every prediction that is kept is made here, so that validation, test and a bundle on raw images agree.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from icecore.store import Store

from .adapter import Adapter, make_scope
from .adapters import get_adapter
from .candidate import Candidate, alike
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
    by_layers: dict[tuple[int, ...], list[Candidate]] = {}
    for candidate in candidates:
        by_layers.setdefault(candidate.layers, []).append(candidate)
    found: dict[str, Tensor] = {}
    for layers, group in by_layers.items():
        parted = alike(group)
        stacks = [restore(store, those, trained, device) for those in parted]
        reads = frozenset[Reads]().union(*(stack.reads for stack in stacks))
        feed = StoreFeed(store, rows, layers, reads, stacks[0].scope.eps, device, in_order=True)
        batches = feed.batches(torch.arange(len(rows)).split(block_rows(store, layers)))
        parts = [predictions(stacks, seen, target) for seen in batches]
        for those, tables in zip(parted, zip(*parts, strict=True), strict=True):
            joined = torch.cat(tables, 1).cpu()
            found |= {candidate.adapter_id: table for candidate, table in zip(those, joined, strict=True)}
    return found


def restore(
    store: Store, those: Sequence[Candidate], trained: Mapping[str, Mapping[str, Tensor]], device: torch.device
) -> Adapter:
    """Return trained adapters, which are alike, as one stack."""
    family = get_adapter(those[0].adapter)
    scope = make_scope(store, those[0].layers, family)
    each = [trained[candidate.adapter_id] for candidate in those]
    stacked = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    return family(family.recorded(those[0].config), scope, stacked).to(device)
