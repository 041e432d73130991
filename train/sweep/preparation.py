"""The preparation of a sweep: its candidates, and the context of each of its splits.

The driving process decides the candidates and the compute dtype; worker processes are told both.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from icecore.store import Store, UsageError, open_store, resolve_compute_dtype, resolve_device

from ..runs.candidate import Candidate
from ..runs.inputs import inputs_of
from ..settings import TrainSettings
from ..splits.cross_validation import cross_validation_splits
from ..splits.split import Split, hold_out
from ..targets import get_target
from ..tokens.memory import num_workers, streaming_bytes
from .extend import Base, base_of, extension, extension_work, of_extension
from .grid import sweep
from .ineffective_options import require_effect
from .parts import units
from .task import SplitContext, Task, feeds_of, tasks_of


def prepare(store: str, settings: TrainSettings) -> tuple[list[Candidate], list[SplitContext]]:
    """Return the candidates of a sweep, and the context of each split: the folds and then all rows, or one split.

    Raises:
        IcecoreError: the store is not complete, or the settings cannot be trained from it or in the memory.
    """
    if (settings.extend is None) != (settings.classes == "all"):
        raise UsageError("--extend RUN and --classes new: expected both, to add classes to a run, or neither")
    if settings.folds and settings.extend is not None:
        raise UsageError("--folds and --extend: new classes are judged by one held-out part; leave out --folds")
    base = None if settings.extend is None else base_of(settings.extend)
    works = works_of(store, settings, base)
    source = works[0].store
    candidates = sweep(source, settings) if base is None else extension(source, settings, base)
    require_effect(source, settings if base is None else of_extension(settings), candidates)
    pairs = [(work, task) for split, work in enumerate(works) for task in tasks_of(candidates, [], split)]
    most = min(torch.get_num_threads(), len(pairs)) if works[0].device.type == "cpu" and base is None else 1
    needs = [_needs(work, task) for work, task in pairs]
    workers = num_workers(needs, most, settings.memory_bytes)
    share = settings.memory_bytes // workers
    return candidates, [replace(work, num_workers=workers, memory_bytes=share) for work in works]


def _needs(work: SplitContext, task: Task) -> tuple[int, int]:
    """Return the least bytes that a task takes: of its rows while they stream, and of its largest unit of adapters."""
    return streaming_bytes(*feeds_of(work, task), task.batch_size), max(size for _, size in units(work, task))


def works_of(store: str, settings: TrainSettings, base: Base | None = None) -> list[SplitContext]:
    """Return the context of each split, for one worker with all of the memory."""
    if settings.extend is not None:
        return [extension_work(store, settings, base or base_of(settings.extend))]
    source = open_store(store)
    source.require_complete()
    splits, device = _splits(source, settings), resolve_device(settings.device)
    dtype = resolve_compute_dtype(settings.compute_dtype, device)
    inputs = inputs_of(source, np.concatenate([rows for split in splits for rows in (split.train, split.validation)]))
    works: list[SplitContext] = []
    for split in splits:
        target = get_target(source.spec.target)
        fitted = target.fitted(target.labels(source, split.train))
        context = SplitContext(
            store=source,
            settings=settings,
            inputs=inputs,
            split=split,
            target=fitted,
            device=device,
            dtype=dtype,
            num_workers=1,
            memory_bytes=settings.memory_bytes,
        )
        works.append(context)
    return works


def _splits(store: Store, settings: TrainSettings) -> Sequence[Split]:
    """Return the folds and last the split of all rows; without folds, the one split."""
    if settings.folds:
        return cross_validation_splits(store, settings.folds, settings.shuffle_seed)
    return [hold_out(store, settings.validation, settings.shuffle_seed)]
