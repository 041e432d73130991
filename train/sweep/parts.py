"""How many adapters train together: so many that they leave room for their rows in the memory of a group.

An adapter in training is its parameters, their gradients, two moments of each, what is kept of it when it ends, and
while a checkpoint is written a copy; and its predictions for the validation rows. Adapters that halve against each
other stay together. On a device with memory of its own they are not counted.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ..adapters import get_adapter
from ..adapters.adapter import make_scope
from ..runs.candidate import Candidate
from ..tokens.feed import StoreFeed
from ..tokens.memory import streaming_bytes
from .halving import Contest, contest_of
from .task import SplitContext, Task, feeds_of

COPIES = 8  # of every number, in float32
PREDICTIONS = 3  # of every validation row and output: measured, joined and kept


def parted(work: SplitContext, tasks: Sequence[Task]) -> list[Task]:
    """Part tasks into such as fit; who has begun together goes on together."""
    parts = [part for task in tasks for part in ([task] if task.checkpoint else _parts(work, task))]
    sizes = [sum(adapter_bytes(work, one) for one in part.candidates) for part in parts]
    return [replace(part, num_bytes=size) for part, size in zip(parts, sizes, strict=True)]


def units(work: SplitContext, task: Task) -> list[tuple[tuple[Candidate, ...], int]]:
    """Return the smallest parts of a task, each with the bytes that it takes in training."""
    contests: dict[Contest | str, list[Candidate]] = {}
    for one in task.candidates:
        halves = work.settings.halving and task.split == 0
        contests.setdefault(contest_of(one) if halves else one.adapter_id, []).append(one)
    return [(tuple(those), sum(adapter_bytes(work, one) for one in those)) for those in contests.values()]


def adapter_bytes(work: SplitContext, candidate: Candidate) -> int:
    """Return what one adapter takes in training."""
    if work.device.type != "cpu":
        return 0
    key = (candidate.adapter, candidate.layers, str(sorted(candidate.config.items())))
    if key not in work.sizes:
        family = get_adapter(candidate.adapter)
        config = family.recorded(candidate.config)
        drawn = family.init_parameters(config, make_scope(work.store, candidate.layers, family), torch.Generator())
        work.sizes[key] = sum(tensor.numel() for tensor in drawn.values())
    num_predictions = len(work.split.validation) * len(work.store.classes)
    return 4 * (COPIES * work.sizes[key] + PREDICTIONS * num_predictions)


def _parts(work: SplitContext, task: Task) -> list[Task]:
    feeds: tuple[StoreFeed, StoreFeed] = feeds_of(work, task)
    most = min(work.memory_bytes // 2, work.memory_bytes - streaming_bytes(*feeds, task.batch_size))
    parts: list[list[Candidate]] = []
    left = 0
    for those, num_bytes in units(work, task):
        if num_bytes > left:
            parts.append([])
            left = most
        parts[-1] += those
        left -= num_bytes
    return [replace(task, candidates=tuple(part)) for part in parts]
