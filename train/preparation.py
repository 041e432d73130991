"""All that comes before the first step of a sweep: candidates, rows, target, machine and limits.

A function of the store and the settings alone, so that every process of a sweep settles the same.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from icecore.store import Store, UsageError, open_store, resolve_compute_dtype, resolve_device

from .candidate import Candidate
from .extend import prepare_extension
from .folds import folds
from .memory import num_workers
from .settings import TrainSettings
from .split import Split, hold_out
from .sweep import sweep
from .targets import get_target
from .task import feeds_of, tasks_of
from .work import Work


def prepare(store: str, settings: TrainSettings) -> tuple[list[Candidate], list[Work]]:
    """Settle what a sweep trains and how, on each of its splits; IcecoreError for what cannot be trained."""
    if (settings.extend is None) != (settings.classes == "all"):
        raise UsageError("--extend RUN and --classes new: expected both, to add classes to a run, or neither")
    if settings.folds and settings.extend is not None:
        raise UsageError("--folds and --extend: new classes are judged by one held-out part; leave out --folds")
    if settings.extend is not None:
        candidates, work = prepare_extension(store, settings)
        return candidates, [work]
    source = open_store(store)
    source.require_complete()
    candidates = sweep(source, settings)
    device = resolve_device(settings.device)
    works = [_alone(source, settings, split, device) for split in _splits(source, settings)]
    pairs = [(work, task) for work in works for task in tasks_of(candidates, [])]
    most = min(torch.get_num_threads(), len(pairs)) if device.type == "cpu" else 1
    needs = [(*feeds_of(work, task), task.batch_size) for work, task in pairs]
    workers = num_workers(needs, most, settings.memory_bytes)
    share = settings.memory_bytes // workers
    return candidates, [replace(work, num_workers=workers, memory_bytes=share) for work in works]


def _splits(store: Store, settings: TrainSettings) -> Sequence[Split]:
    """Return the folds and at last all rows, or the one split there is without folds."""
    if settings.folds:
        return folds(store, settings.folds, settings.shuffle_seed)
    return [hold_out(store, settings.validation, settings.shuffle_seed)]


def _alone(store: Store, settings: TrainSettings, split: Split, device: torch.device) -> Work:
    """Return what is done on one split, with the machine to itself."""
    target, dtype = get_target(store.spec.target), resolve_compute_dtype(settings.compute_dtype, device)
    fitted = target.fitted(target.labels(store, split.train))
    return Work(store, settings, split, fitted, device, dtype, 1, settings.memory_bytes)
