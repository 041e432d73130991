"""All that comes before the first step of a sweep: rows, target, machine and limits, and what is trained with them.

The process that drives a sweep settles what is trained, and in which type; those that work for it are told both.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from icecore.store import Store, UsageError, open_store, resolve_compute_dtype, resolve_device

from ..runs.candidate import Candidate
from ..runs.inputs import inputs_of
from ..settings import TrainSettings
from ..splits.cross_validation import folds
from ..splits.split import Split, hold_out
from ..targets import get_target
from ..tokens.memory import num_workers, streaming_bytes
from .extend import Base, base_of, extension, extension_work, of_extension
from .grid import sweep
from .ineffective_options import require_effect
from .parts import units
from .task import SplitContext, Task, feeds_of, tasks_of


def prepare(store: str, settings: TrainSettings) -> tuple[list[Candidate], list[SplitContext]]:
    """Settle what a sweep trains and how, on each of its splits; IcecoreError for what cannot be trained."""
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
    """Return the least that a task takes: its rows as they stream, and as few of its adapters as may train alone."""
    return streaming_bytes(*feeds_of(work, task), task.batch_size), max(size for _, size in units(work, task))


def works_of(store: str, settings: TrainSettings, base: Base | None = None) -> list[SplitContext]:
    """Return what is trained on, split by split, whoever is trained: all of it, with the machine to itself."""
    if settings.extend is not None:
        return [extension_work(store, settings, base or base_of(settings.extend))]
    source = open_store(store)
    source.require_complete()
    splits, device = _splits(source, settings), resolve_device(settings.device)
    dtype = resolve_compute_dtype(settings.compute_dtype, device)
    inputs = inputs_of(source, np.concatenate([rows for one in splits for rows in (one.train, one.validation)]))
    works: list[SplitContext] = []
    for split in splits:
        target = get_target(source.spec.target)
        fitted = target.fitted(target.labels(source, split.train))
        works.append(SplitContext(source, settings, inputs, split, fitted, device, dtype, 1, settings.memory_bytes))
    return works


def _splits(store: Store, settings: TrainSettings) -> Sequence[Split]:
    """Return the folds and at last all rows, or the one split there is without folds."""
    if settings.folds:
        return folds(store, settings.folds, settings.shuffle_seed)
    return [hold_out(store, settings.validation, settings.shuffle_seed)]
