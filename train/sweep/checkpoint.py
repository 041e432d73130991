"""Checkpoints of a group: a snapshot of all that the next step depends on, and of the results so far.

A checkpoint is one safetensors file, replaced atomically. The tensors are parameters and moments of the adapters in
training and the parameters of finished adapters; the header holds the candidates, the position in the order and the
results. The size of the file is bounded by the size of the group.
"""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from ..runs.candidate import Candidate
from ..runs.ledger import candidates_of
from ..runs.ledger_entry import Entry
from ..runs.result import result_from_row, result_to_row
from .group import Group


def snapshot(group: Group, candidates: Sequence[Candidate]) -> Entry:
    """Return a snapshot of a group that began with `candidates`."""
    tensors = {f"trained/{key}/{name}": t for key, adapter in group.trained.items() for name, t in adapter.items()}
    for number, (stack, total) in enumerate(zip(group.stacks, group.totals, strict=True)):
        tensors |= {f"stack/{number}/{name}": tensor for name, tensor in stack.state().items()}
        tensors[f"total/{number}"] = total
    facts = {
        "candidates": [candidate.model_dump(mode="json") for candidate in candidates],
        "stacks": [[candidate.adapter_id for candidate in stack.candidates] for stack in group.stacks],
        "num_steps": [stack.optimizer.num_steps for stack in group.stacks],
        "epoch": group.epoch,
        "num_batches": group.num_batches,
        "results": [result_to_row(result) for result in group.results],
    }
    return Entry(facts, {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


@torch.no_grad()
def restore(group: Group, entry: Entry) -> None:
    """Bring a fresh group to the point of its training at which the snapshot was taken."""
    facts, by_id = entry.facts, {candidate.adapter_id: candidate for candidate in candidates_of(entry)}
    group.results = [result_from_row(row) for row in facts["results"]]
    group.trained = _trained(entry.tensors)
    group.stacks = [group.fresh([by_id[adapter_id] for adapter_id in ids]) for ids in facts["stacks"]]
    group.begin_epoch(facts["epoch"])
    group.num_batches = facts["num_batches"]
    for number, (stack, total) in enumerate(zip(group.stacks, group.totals, strict=True)):
        stack.optimizer.num_steps = facts["num_steps"][number]
        total.copy_(entry.tensors[f"total/{number}"])
        for name, tensor in stack.state().items():
            tensor.copy_(entry.tensors[f"stack/{number}/{name}"])


def num_epochs_of(entry: Entry) -> int:
    """Return the number of epochs trained before a snapshot, summed over the adapters."""
    return len(entry.facts["results"])


class Clock:
    """A timer that says when the next checkpoint is due."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return whether `every_seconds` have passed since the last true answer; a true answer restarts the timer."""
        due = time.monotonic() - self._last >= self._every_seconds
        self._last = time.monotonic() if due else self._last
        return due


def _trained(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    trained: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("trained/"):
            _, adapter_id, parameter = name.split("/", 2)
            trained.setdefault(adapter_id, {})[parameter] = tensor
    return trained
