"""A task of a sweep: candidates that train together, from the start or a checkpoint to the end.

Checkpoints and the outcome are written to the ledger of the RUN.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from icecore.store import Store

from ..adapters import get_adapter
from ..adapters.adapter import Scope, make_scope
from ..modules.device import deterministic, on_device
from ..runs.candidate import Candidate
from ..runs.inputs import Inputs
from ..runs.ledger import Ledger, Outcome, candidates_of
from ..runs.ledger_entry import Entry
from ..runs.result import EpochResult
from ..settings import TrainSettings
from ..splits.split import Split, groups_of
from ..targets.target import Target
from ..tokens.batch import Reads
from ..tokens.feed import Data, StoreFeed
from ..tokens.memory import hold
from ..tokens.order import make_order
from .checkpoint import Clock, restore, snapshot
from .group import AdapterSource, Group
from .halving import RUNGS, Halving
from .predict import predict


@dataclass(frozen=True, kw_only=True)
class SplitContext:
    """All that the tasks of one split share: the store and its rows, the target, the device and the limits."""

    store: Store
    settings: TrainSettings
    inputs: Inputs
    split: Split
    target: Target
    device: torch.device
    dtype: torch.dtype
    num_workers: int
    memory_bytes: int  # that one task may take
    adapter_source: AdapterSource = field(default_factory=AdapterSource)
    sizes: dict[tuple[str, tuple[int, ...], str], int] = field(default_factory=dict)  # scalars of an adapter: a cache

    @property
    def compute_dtype(self) -> str:
        """The name of the type in which products are computed."""
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """All that a result depends on besides its candidate and the store's tokens, as the ledger records it."""
        return {
            "validation_sha256": self.split.rows_sha256,
            "num_train_rows": len(self.split.train),
            "train_sha256": hashlib.sha256(self.split.train.astype("<i8").tobytes()).hexdigest(),
            "classes_sha256": hashlib.sha256(
                "\0".join(self.store.classes).encode("utf-8", "surrogateescape")
            ).hexdigest(),
            "shard_rows": self.store.shard_rows,  # the order of the rows
            "shuffle_seed": self.settings.shuffle_seed,
            "compute_dtype": self.compute_dtype,
        }

    def ledger(self, run: str) -> Ledger:
        """Return the ledger of a RUN under the conditions of this split."""
        return Ledger(run, self.inputs, self.conditions, self.settings.halving)


class StoppedError(Exception):
    """The sweep was asked to stop, and has written a checkpoint."""


@dataclass(frozen=True)
class Task:
    """Candidates that train together, and the checkpoint from which they go on, if they have begun."""

    candidates: tuple[Candidate, ...]
    checkpoint: Entry | None = None
    split: int = 0  # index of the split
    num_bytes: int = 0  # that the adapters take in training

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that every candidate reads."""
        return self.candidates[0].layers

    @property
    def batch_size(self) -> int:
        """The batch size of every candidate."""
        return self.candidates[0].recipe.batch_size


def tasks_of(candidates: list[Candidate], checkpoints: list[Entry], split: int = 0) -> list[Task]:
    """Split candidates into tasks by layers and batch size; candidates of one checkpoint stay together."""
    begun = [Task(tuple(candidates_of(entry)), entry, split) for entry in checkpoints]
    in_checkpoints = {candidate.adapter_id for task in begun for candidate in task.candidates}
    groups: dict[tuple[tuple[int, ...], int], list[Candidate]] = {}
    for candidate in candidates:
        if candidate.adapter_id not in in_checkpoints:
            groups.setdefault((candidate.layers, candidate.recipe.batch_size), []).append(candidate)
    return begun + [Task(tuple(group), split=split) for group in groups.values()]


def pending(candidates: list[Candidate], known: Sequence[Outcome], ledger: Ledger, split: int = 0) -> list[Task]:
    """Return the tasks that are left on a split, given the known outcomes; begun tasks go on from their checkpoints."""
    ended = {result.candidate.adapter_id for outcome in known for result in outcome.results}
    left = [candidate for candidate in candidates if candidate.adapter_id not in ended]
    return tasks_of(left, ledger.checkpoints(left), split)


def feeds_of(work: SplitContext, task: Task) -> tuple[StoreFeed, StoreFeed]:
    """Return feeds of a task's train rows, in all views, and of its validation rows, in the first view alone."""
    reads = frozenset[Reads]().union(*(get_adapter(candidate.adapter).reads for candidate in task.candidates))
    eps = next(iter(_scopes(work, task).values())).eps
    train = StoreFeed(
        store=work.store,
        rows=work.split.train,
        layers=task.layers,
        reads=reads,
        eps=eps,
        device=work.device,
        dtype=work.dtype,
        num_views=work.store.identity.views,
    )
    return train, replace(train, rows=work.split.validation, num_views=1, in_order=True)


def run_task(
    work: SplitContext,
    task: Task,
    ledger: Ledger,
    progress: Callable[[Sequence[EpochResult]], None],
    stopped: Callable[[], bool],
) -> Outcome:
    """Train a task to its end, write the outcome to the ledger and return it.

    `progress` is called with the results of each epoch, `stopped` after every batch.

    Raises:
        StoppedError: `stopped` returned true; a checkpoint is in the ledger.
    """
    begin = time.perf_counter()
    data = _data(work, task)
    read = time.perf_counter()
    group = _group(work, task, data)
    clock = Clock(work.settings.checkpoint_seconds)

    def after_batch() -> None:
        stop = stopped()
        if stop or clock.is_due():
            ledger.save(task.candidates, snapshot(group, task.candidates))
        if stop:
            raise StoppedError

    order = make_order(work.store, task.layers, work.split.train, task.batch_size, work.settings.shuffle_seed)
    with deterministic(work.device):
        group.run(order, lambda count: progress(group.results[-count:]), after_batch)
    results, trained = group.results, group.trained
    del group, data  # free the rows that were held: predictions read them anew
    finished = [candidate for candidate in task.candidates if candidate.adapter_id in trained]
    predictions = predict(work.store, work.split.validation, trained, finished, work.target, work.device)
    outcome = Outcome(results, trained, predictions, read - begin, time.perf_counter() - read)
    return ledger.finish(task.candidates, outcome)


def _data(work: SplitContext, task: Task) -> tuple[Data, Data]:
    feeds = feeds_of(work, task)
    train, validation = hold(*feeds, task.batch_size, work.memory_bytes - task.num_bytes)
    labels = [on_device(work.target.truth(work.store, feed.rows), work.device) for feed in feeds]
    return Data(train, labels[0], groups_of(work.store, work.split.train)), Data(validation, labels[1])


def _group(work: SplitContext, task: Task, data: tuple[Data, Data]) -> Group:
    """Return the group of a task, restored from its checkpoint if the task has one."""
    scopes = _scopes(work, task)
    is_halved = work.settings.halving and task.split == 0  # the other splits train only the adapters that are left
    group = Group(
        task.candidates,
        scopes=lambda candidate: scopes[candidate.adapter],
        train=data[0],
        validation=data[1],
        target=work.target,
        halving=Halving(task.candidates, RUNGS if is_halved else ()),
        source=work.adapter_source,
    )
    if task.checkpoint is not None:
        restore(group, task.checkpoint)
    return group


def _scopes(work: SplitContext, task: Task) -> dict[str, Scope]:
    names = {candidate.adapter for candidate in task.candidates}
    return {name: make_scope(work.store, task.layers, get_adapter(name)) for name in sorted(names)}
