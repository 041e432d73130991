"""How many adapters train together: as many as leave room for their rows in the memory of a task.

An adapter in training takes its parameters, their gradients, two moments, the kept tensors at its end, a copy while a
checkpoint is written, and its predictions for the validation rows. Adapters of one halving contest stay together. On a
device with separate memory adapters are not counted.
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

COPIES = 8  # of every trained scalar, in float32
PREDICTIONS = 3  # copies of the prediction table: measured, joined and kept


def parted(work: SplitContext, tasks: Sequence[Task]) -> list[Task]:
    """Split tasks into tasks that fit in memory; a task with a checkpoint stays whole."""
    parts = [part for task in tasks for part in ([task] if task.checkpoint else _parts(work, task))]
    sizes = [sum(adapter_bytes(work, candidate) for candidate in part.candidates) for part in parts]
    return [replace(part, num_bytes=size) for part, size in zip(parts, sizes, strict=True)]


def units(work: SplitContext, task: Task) -> list[tuple[tuple[Candidate, ...], int]]:
    """Return the smallest groups of candidates that may train alone, each with the bytes that it takes in training."""
    contests: dict[Contest | str, list[Candidate]] = {}
    is_halved = work.settings.halving and task.split == 0
    for candidate in task.candidates:
        contests.setdefault(contest_of(candidate) if is_halved else candidate.adapter_id, []).append(candidate)
    return [
        (tuple(members), sum(adapter_bytes(work, candidate) for candidate in members)) for members in contests.values()
    ]


def adapter_bytes(work: SplitContext, candidate: Candidate) -> int:
    """Return the bytes of memory of the process that one adapter takes in training."""
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
    for members, num_bytes in units(work, task):
        if num_bytes > left:
            parts.append([])
            left = most
        parts[-1] += members
        left -= num_bytes
    return [replace(task, candidates=tuple(part)) for part in parts]
