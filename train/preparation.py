"""All that comes before the first step of a sweep: candidates, rows, target, machine and limits.

A function of the store and the settings alone, so that every process of a sweep settles the same.
"""

from dataclasses import replace

import torch

from icecore.store import UsageError, open_store

from .candidate import Candidate
from .device import resolve_device, resolve_dtype
from .extend import prepare_extension
from .memory import num_workers
from .settings import TrainSettings
from .split import hold_out
from .sweep import sweep
from .targets import get_target
from .task import feeds_of, tasks_of
from .work import Work


def prepare(store: str, settings: TrainSettings) -> tuple[list[Candidate], Work]:
    """Settle what a sweep trains and how; UsageError or IcecoreError for what cannot be trained."""
    if (settings.extend is None) != (settings.classes == "all"):
        raise UsageError("--extend RUN and --classes new: expected both, to add classes to a run, or neither")
    if settings.extend is not None:
        return prepare_extension(store, settings)
    source = open_store(store)
    source.require_complete()
    candidates = sweep(source, settings)
    device = resolve_device(settings.device)
    split = hold_out(source, settings.validation, settings.shuffle_seed)
    dtype, memory_bytes = resolve_dtype(settings.compute_dtype, device), settings.memory_bytes
    unfitted = get_target(source.spec.target)
    target = unfitted.fitted(unfitted.labels(source, split.train))
    alone = Work(source, settings, split, target, device, dtype, 1, memory_bytes)
    tasks = tasks_of(candidates, [])
    most = min(torch.get_num_threads(), len(tasks)) if device.type == "cpu" else 1
    workers = num_workers([(*feeds_of(alone, task), task.batch_size) for task in tasks], most, memory_bytes)
    return candidates, replace(alone, num_workers=workers, memory_bytes=memory_bytes // workers)
