"""Predictions of trained adapters for rows of a store, in float32 whatever the compute dtype of training.

Every prediction that is kept is computed here, so that validation, test and a bundle on raw images agree.
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

TABLE_BYTES = 32 << 20  # of the predictions of all adapters of some layers for a block of rows


def predict(
    store: Store,
    rows: Int64[np.ndarray, " row"],
    trained: Mapping[str, dict[str, Tensor]],
    candidates: Iterable[Candidate],
    target: Target,
    device: torch.device,
) -> dict[str, Float[Tensor, "row classes"]]:
    """Return each candidate's predictions for `rows`, by adapter id; each layer is read once. Empty if `rows` is."""
    tables: dict[str, Tensor] = {}
    for members, start, blocks in predicted_blocks(store, rows, trained, candidates, target, device):
        for candidate, block in zip(members, blocks, strict=True):
            table = tables.setdefault(candidate.adapter_id, block.new_empty(len(rows), block.shape[1]))
            table[start : start + len(block)] = block
    return tables


def predicted_blocks(
    store: Store,
    rows: Int64[np.ndarray, " row"],
    trained: Mapping[str, dict[str, Tensor]],
    candidates: Iterable[Candidate],
    target: Target,
    device: torch.device,
) -> Iterator[tuple[Sequence[Candidate], int, Float[Tensor, "adapter row classes"]]]:
    """Yield candidates, the index of a block's first row in `rows`, and the predictions for the block.

    Each layer is read once.
    """
    by_layers: dict[tuple[int, ...], list[Candidate]] = {}
    for candidate in candidates if len(rows) else ():
        by_layers.setdefault(candidate.layers, []).append(candidate)
    for layers, group in by_layers.items():
        alike_groups = alike(group)
        stacks = [load_stack(store, members, trained, device) for members in alike_groups]
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
        for row_indices, batch in zip(batches, feed.batches(batches), strict=True):
            for members, tables in zip(alike_groups, predictions(stacks, batch, target), strict=True):
                yield members, int(row_indices[0]), tables.cpu()


def load_stack(
    store: Store, candidates: Sequence[Candidate], trained: Mapping[str, Mapping[str, Tensor]], device: torch.device
) -> Adapter:
    """Return trained adapters of one family, configuration and layers as one stack."""
    family = get_adapter(candidates[0].adapter)
    scope = make_scope(store, candidates[0].layers, family)
    adapters = [trained[candidate.adapter_id] for candidate in candidates]
    stacked = {name: torch.stack([tensors[name] for tensors in adapters]) for name in adapters[0]}
    return family(family.recorded(candidates[0].config), scope, stacked).to(device)
