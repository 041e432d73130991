"""Where a group's training stands, as one file: all that its next step depends on, and what is already known of it.

One safetensors file, replaced atomically: parameters and moments of who still trains, parameters of who has ended, and
in its header the place in the order, the results so far, and who the candidates are. Its size is bounded by the group.
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
    """Return where a group stands; `candidates` are all that it began with."""
    tensors = {f"trained/{key}/{name}": t for key, one in group.trained.items() for name, t in one.items()}
    for place, (stack, total) in enumerate(zip(group.stacks, group.totals, strict=True)):
        tensors |= {f"stack/{place}/{name}": tensor for name, tensor in stack.state().items()}
        tensors[f"total/{place}"] = total
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
    """Put a fresh group where a snapshot was taken."""
    facts, by_id = entry.facts, {one.adapter_id: one for one in candidates_of(entry)}
    group.results = [result_from_row(row) for row in facts["results"]]
    group.trained = _trained(entry.tensors)
    group.stacks = [group.fresh([by_id[adapter_id] for adapter_id in ids]) for ids in facts["stacks"]]
    group.begin_epoch(facts["epoch"])
    group.num_batches = facts["num_batches"]
    for place, (stack, total) in enumerate(zip(group.stacks, group.totals, strict=True)):
        stack.optimizer.num_steps = facts["num_steps"][place]
        total.copy_(entry.tensors[f"total/{place}"])
        for name, tensor in stack.state().items():
            tensor.copy_(entry.tensors[f"stack/{place}/{name}"])


def num_epochs_of(entry: Entry) -> int:
    """Return how many epochs of single adapters a snapshot has behind it."""
    return len(entry.facts["results"])


class Clock:
    """Says when the next checkpoint is due."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Say whether the time has come, and start anew if it has."""
        due = time.monotonic() - self._last >= self._every_seconds
        self._last = time.monotonic() if due else self._last
        return due


def _trained(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("trained/"):
            _, adapter_id, parameter = name.split("/", 2)
            found.setdefault(adapter_id, {})[parameter] = tensor
    return found
