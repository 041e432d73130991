"""Predictions of trained adapters for rows of a store, in float32, whatever they were trained in.

Every prediction that is kept is made here, so that validation, test and a bundle on raw images agree.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from icecore.store import Store

from ..adapters import get_adapter
from ..adapters.adapter import Adapter, make_scope
from ..runs.candidate import Candidate, alike
from ..targets.target import Target
from ..tokens.batch import Reads
from ..tokens.feed import StoreFeed, block_rows
from .forward import predictions

TABLE_BYTES = 32 << 20  # of what all adapters of some layers say of a block of rows


def predict(
    store: Store,
    rows: Int64[np.ndarray, " row"],
    trained: Mapping[str, dict[str, Tensor]],
    candidates: Iterable[Candidate],
    target: Target,
    device: torch.device,
) -> dict[str, Float[Tensor, "row classes"]]:
    """Return a table of predictions for every candidate, by id; each layer is read once. No row, no table."""
    found: dict[str, Tensor] = {}
    for those, start, tables in predicted_blocks(store, rows, trained, candidates, target, device):
        for candidate, block in zip(those, tables, strict=True):
            table = found.setdefault(candidate.adapter_id, block.new_empty(len(rows), block.shape[1]))
            table[start : start + len(block)] = block
    return found


def predicted_blocks(
    store: Store,
    rows: Int64[np.ndarray, " row"],
    trained: Mapping[str, dict[str, Tensor]],
    candidates: Iterable[Candidate],
    target: Target,
    device: torch.device,
) -> Iterator[tuple[Sequence[Candidate], int, Float[Tensor, "adapter row classes"]]]:
    """Yield what some candidates say of a block of rows, and the first of these; each layer is read once."""
    by_layers: dict[tuple[int, ...], list[Candidate]] = {}
    for candidate in candidates if len(rows) else ():
        by_layers.setdefault(candidate.layers, []).append(candidate)
    for layers, group in by_layers.items():
        parted = alike(group)
        stacks = [load_stack(store, those, trained, device) for those in parted]
        reads = frozenset[Reads]().union(*(stack.reads for stack in stacks))
        feed = StoreFeed(
            store=store,
            rows=rows,
            layers=layers,
            reads=reads,
            eps=stacks[0].scope.eps,
            device=device,
            in_order=True,
        )
        most = max(1, TABLE_BYTES // (4 * len(group) * max(1, len(store.classes))))
        batches = torch.arange(len(rows)).split(min(block_rows(store, layers), most))
        for places, seen in zip(batches, feed.batches(batches), strict=True):
            for those, tables in zip(parted, predictions(stacks, seen, target), strict=True):
                yield those, int(places[0]), tables.cpu()


def load_stack(
    store: Store, those: Sequence[Candidate], trained: Mapping[str, Mapping[str, Tensor]], device: torch.device
) -> Adapter:
    """Return trained adapters, which are alike, as one stack."""
    family = get_adapter(those[0].adapter)
    scope = make_scope(store, those[0].layers, family)
    each = [trained[candidate.adapter_id] for candidate in those]
    stacked = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    return family(family.recorded(those[0].config), scope, stacked).to(device)
