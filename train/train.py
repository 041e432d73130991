"""Stage two: every adapter of a sweep, trained from a store; each layer is read once.

What is trained is kept in the RUN's ledger as it comes: a sweep that was killed goes on where it stood, and a larger
one trains only what is new.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

import torch

from icecore.store import Store, open_store

from .candidate import Candidate
from .device import resolve_device, resolve_dtype
from .halving import RUNGS, Halving
from .ledger import Ledger, Outcome
from .memory import num_workers
from .record import record
from .run import Run
from .settings import TrainSettings
from .split import hold_out
from .sweep import sweep
from .targets import get_target
from .task import Task, feeds_of, run_task, tasks_of
from .work import Work, conditions


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: epochs of single adapters done, of how many, and the layers being trained."""

    done: int
    total: int
    layers: tuple[int, ...]
    elapsed_seconds: float


def train(store: str, out: str, settings: TrainSettings, progress: Callable[[Progress], None] | None = None) -> Run:
    """Train every candidate of the settings and write the RUN folder `out`; IcecoreError before any work is lost."""
    begin = time.perf_counter()
    source = open_store(store)
    source.require_complete()
    candidates = sweep(source, settings)
    work = _work(source, settings, candidates)
    ledger = Ledger(out, source, conditions(work.split, settings, work.dtype), settings.halving)
    known = ledger.outcomes(candidates)
    ended = {result.candidate.adapter_id for outcome in known for result in outcome.results}
    pending = [candidate for candidate in candidates if candidate.adapter_id not in ended]
    tasks = tasks_of(pending, ledger.checkpoints(pending))
    meter = _Meter(begin, progress, *_epochs(known, tasks, settings))
    outcomes = known + _train_all(work, tasks, ledger, meter)
    return record(out, work, candidates, outcomes, time.perf_counter() - begin)


def _work(source: Store, settings: TrainSettings, candidates: list[Candidate]) -> Work:
    """Settle rows, machine and limits; from all candidates asked for, so that a resumed sweep computes alike."""
    device = resolve_device(settings.device)
    split = hold_out(source, settings.validation, settings.shuffle_seed)
    dtype, memory_bytes = resolve_dtype(settings.compute_dtype, device), settings.memory_bytes
    unfitted = get_target(source.spec.target)
    target = unfitted.fitted(unfitted.labels(source, split.train))
    alone = Work(source, settings, split, target, device, dtype, 1, memory_bytes)
    tasks = tasks_of(candidates, [])
    most = min(torch.get_num_threads(), len(tasks)) if device.type == "cpu" else 1
    workers = num_workers([(*feeds_of(alone, task), task.batch_size) for task in tasks], most, memory_bytes)
    return replace(alone, num_workers=workers, memory_bytes=memory_bytes // workers)


def _epochs(known: list[Outcome], tasks: list[Task], settings: TrainSettings) -> tuple[int, int]:
    """Return how many epochs of single adapters are done already, and how many there will have been."""
    rungs = RUNGS if settings.halving else ()
    before = sum(len(outcome.results) for outcome in known)
    begun = sum(len(task.checkpoint.facts["results"]) for task in tasks if task.checkpoint is not None)
    return before + begun, before + sum(Halving(task.candidates, rungs).num_epochs for task in tasks)


class _Meter:
    """Adds up what groups in several threads report."""

    def __init__(self, begin: float, progress: Callable[[Progress], None] | None, done: int, total: int) -> None:
        self._total, self._begin, self._progress = total, begin, progress
        self._done = done
        self._lock = threading.Lock()
        self.stopped = False

    def add(self, count: int, layers: tuple[int, ...]) -> None:
        """Report some adapters' epochs."""
        with self._lock:
            self._done += count
            if self._progress is not None:
                elapsed_seconds = time.perf_counter() - self._begin
                self._progress(Progress(self._done, self._total, layers, elapsed_seconds))


def _train_all(work: Work, tasks: list[Task], ledger: Ledger, meter: _Meter) -> list[Outcome]:
    """Train one group a thread: a core each costs less than all cores meeting at the end of every small product."""
    num_threads = torch.get_num_threads()
    share = max(1, num_threads // work.num_workers)

    def run(task: Task) -> Outcome:
        return run_task(work, task, ledger, lambda count: meter.add(count, task.layers), lambda: meter.stopped)

    with ThreadPoolExecutor(work.num_workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        futures = [pool.submit(run, task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()  # the first that fails ends the others
            return [future.result() for future in futures]
        except BaseException:
            meter.stopped = True
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(num_threads)
