"""Stage two: every adapter of a sweep, trained from a store; each layer is read once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64

from icecore.store import IcecoreError, Store, open_store

from .adapter import make_scope
from .adapters import get_adapter
from .candidate import Candidate
from .device import resolve_device, resolve_dtype
from .feed import HeldFeed, StoreFeed
from .group import Data, Group
from .halving import RUNGS, Halving
from .order import make_order
from .predict import predict
from .record import Outcome, Work, record
from .run import Run, require_free
from .settings import TrainSettings
from .split import hold_out
from .sweep import sweep


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
    _check(source)
    require_free(out, source.identity.sha256)
    candidates = sweep(source, settings)
    device = resolve_device(settings.device)
    groups = _groups(candidates)
    num_workers = min(torch.get_num_threads(), len(groups)) if device.type == "cpu" else 1
    work = Work(
        store=source,
        settings=settings,
        split=hold_out(source, settings.validation, settings.shuffle_seed),
        device=device,
        dtype=resolve_dtype(settings.compute_dtype, device),
        num_workers=num_workers,
        memory_bytes=settings.memory_bytes // num_workers // 2,  # train rows, and as much for validation and work
    )
    meter = _Meter(Halving(candidates, RUNGS if settings.halving else ()).num_epochs, begin, progress)
    outcomes = _train_all(work, groups, num_workers, meter)
    return record(out, work, outcomes, time.perf_counter() - begin)


class _Meter:
    """Adds up what groups in several threads report."""

    def __init__(self, total: int, begin: float, progress: Callable[[Progress], None] | None) -> None:
        self._total, self._begin, self._progress = total, begin, progress
        self._done = 0
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Make whoever reports next give up."""
        self._stopped = True

    def add(self, count: int, layers: tuple[int, ...]) -> None:
        """Report some adapters' epochs."""
        if self._stopped:
            raise RuntimeError("the sweep was stopped")
        with self._lock:
            self._done += count
            if self._progress is not None:
                elapsed_seconds = time.perf_counter() - self._begin
                self._progress(Progress(self._done, self._total, layers, elapsed_seconds))


def _check(source: Store) -> None:
    source.require_complete()
    if source.spec.target != "class":
        raise IcecoreError(f"{source.url}: target {source.spec.target!r}, expected 'class'; no other is trained yet")


def _groups(candidates: list[Candidate]) -> list[list[Candidate]]:
    """Part candidates into those that can share a pass over the same rows."""
    groups: dict[tuple[tuple[int, ...], int], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.layers, candidate.recipe.batch_size), []).append(candidate)
    return list(groups.values())


def _train_all(work: Work, groups: list[list[Candidate]], num_workers: int, meter: _Meter) -> list[Outcome]:
    """Train one group a thread: a core each costs less than all cores meeting at the end of every small product."""
    num_threads = torch.get_num_threads()
    share = max(1, num_threads // num_workers)
    with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        try:
            return list(pool.map(lambda group: _train_group(work, group, meter), groups))
        except BaseException:
            meter.stop()
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(num_threads)


def _data(work: Work, rows: Int64[np.ndarray, " row"], group: list[Candidate], eps: float) -> Data:
    """Hold rows on the device if they fit in the memory given, else read them as they are asked for."""
    reads = frozenset(get_adapter(candidate.adapter).reads for candidate in group)
    feed = StoreFeed(work.store, rows, group[0].layers, reads, eps, work.device, work.dtype)
    held = HeldFeed(feed) if feed.num_bytes() <= work.memory_bytes else feed
    return Data(held, torch.from_numpy(work.store.labels[rows]).to(work.device))


def _train_group(work: Work, candidates: list[Candidate], meter: _Meter) -> Outcome:
    begin = time.perf_counter()
    backbone, layers = work.store.frozen(), candidates[0].layers
    names = {candidate.adapter for candidate in candidates}
    scopes = {name: make_scope(work.store.spec, backbone, layers, get_adapter(name)) for name in names}
    eps = scopes[candidates[0].adapter].eps
    train_data, validation_data = (
        _data(work, rows, candidates, eps) for rows in (work.split.train, work.split.validation)
    )
    reading_seconds = time.perf_counter() - begin
    halving = Halving(candidates, RUNGS if work.settings.halving else ())
    group = Group(candidates, lambda candidate: scopes[candidate.adapter], train_data, validation_data, halving)
    order = make_order(work.store, work.split.train, candidates[0].recipe.batch_size, work.settings.shuffle_seed)
    group.run(order, lambda count: meter.add(count, layers))
    finished = [candidate for candidate in candidates if candidate.adapter_id in group.trained]
    predictions = predict(work.store, work.split.validation, group.trained, finished, work.device)
    seconds = time.perf_counter() - begin - reading_seconds
    return Outcome(group.results, group.trained, predictions, reading_seconds, seconds)
