"""Stage two: every adapter of a sweep, trained from a store; each layer is read once."""

import importlib.metadata
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from icecore.store import IcecoreError, Store, open_store

from .adapter import make_scope
from .adapters import get_adapter
from .candidate import Candidate
from .device import resolve_device, resolve_dtype
from .feed import HeldFeed, StoreFeed
from .group import OK, Data, EpochResult, Group
from .predict import predict
from .run import Run, adapters_bytes, require_free, results_bytes, validation_bytes, write_run
from .settings import TrainSettings
from .split import Split, hold_out
from .sweep import sweep


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: epochs of single adapters done, of how many, and the layers being trained."""

    done: int
    total: int
    layers: tuple[int, ...]
    elapsed_seconds: float


@dataclass(frozen=True)
class _Sweep:
    """What all groups of candidates share."""

    store: Store
    settings: TrainSettings
    split: Split
    device: torch.device
    dtype: torch.dtype
    memory_bytes: int  # that one group may hold

    def data(self, rows: Int64[np.ndarray, " row"], group: list[Candidate], eps: float) -> Data:
        """Hold rows on the device if they fit in the memory given, else read them as they are asked for."""
        reads = frozenset(get_adapter(candidate.adapter).reads for candidate in group)
        feed = StoreFeed(self.store, rows, group[0].layers, reads, eps, self.device, self.dtype)
        held = HeldFeed(feed) if feed.num_bytes() <= self.memory_bytes else feed
        return Data(held, torch.from_numpy(self.store.labels[rows]).to(self.device))


@dataclass(frozen=True)
class _Outcome:
    """What came of one group."""

    results: list[EpochResult]
    trained: dict[str, dict[str, Tensor]]
    predictions: dict[str, Tensor]
    reading_seconds: float
    training_seconds: float


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
    work = _Sweep(
        store=source,
        settings=settings,
        split=hold_out(source, settings.validation, settings.shuffle_seed),
        device=device,
        dtype=resolve_dtype(settings.compute_dtype, device),
        memory_bytes=settings.memory_bytes // num_workers // 2,  # train rows, and as much for validation and work
    )
    meter = _Meter(sum(candidate.recipe.epochs for candidate in candidates), begin, progress)
    outcomes = _train_all(work, groups, num_workers, meter)
    return _write(work, outcomes, out, time.perf_counter() - begin)


class _Meter:
    """Adds up what groups in several threads report."""

    def __init__(self, total: int, begin: float, progress: Callable[[Progress], None] | None) -> None:
        self._total, self._begin, self._progress = total, begin, progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int, layers: tuple[int, ...]) -> None:
        """Report some adapters' epochs."""
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


def _train_all(work: _Sweep, groups: list[list[Candidate]], num_workers: int, meter: _Meter) -> list[_Outcome]:
    """Train one group a thread: a core each costs less than all cores meeting at the end of every small product."""
    num_threads = torch.get_num_threads()
    share = max(1, num_threads // num_workers)
    with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        try:
            return list(pool.map(lambda group: _train_group(work, group, meter), groups))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(num_threads)


def _train_group(work: _Sweep, candidates: list[Candidate], meter: _Meter) -> _Outcome:
    begin = time.perf_counter()
    backbone, layers = work.store.frozen(), candidates[0].layers
    names = {candidate.adapter for candidate in candidates}
    scopes = {name: make_scope(work.store.spec, backbone, layers, get_adapter(name)) for name in names}
    eps = scopes[candidates[0].adapter].eps
    train_data, validation_data = (
        work.data(rows, candidates, eps) for rows in (work.split.train, work.split.validation)
    )
    reading_seconds = time.perf_counter() - begin
    group = Group(candidates, lambda candidate: scopes[candidate.adapter], train_data, validation_data)
    group.run(work.settings.shuffle_seed, lambda count: meter.add(count, layers))
    finished = [candidate for candidate in candidates if candidate.adapter_id in group.trained]
    predictions = predict(work.store, work.split.validation, group.trained, finished, work.device)
    seconds = time.perf_counter() - begin - reading_seconds
    return _Outcome(group.results, group.trained, predictions, reading_seconds, seconds)


def _write(work: _Sweep, outcomes: list[_Outcome], out: str, elapsed_seconds: float) -> Run:
    validation, source = work.split.validation, work.store
    results = [result for outcome in outcomes for result in outcome.results]
    predictions = {key: table for outcome in outcomes for key, table in outcome.predictions.items()}
    files = {
        "results.parquet": results_bytes(results),
        "adapters.safetensors": adapters_bytes({k: v for outcome in outcomes for k, v in outcome.trained.items()}),
        "validation.parquet": validation_bytes(predictions, validation, torch.from_numpy(source.labels[validation])),
    }
    cost = _cost(work, outcomes) | {"elapsed_seconds": elapsed_seconds}
    return write_run(out, files, _facts(work, results) | {"cost": cost})


def _facts(work: _Sweep, results: list[EpochResult]) -> dict[str, Any]:
    identity = work.store.identity
    return {
        "store": work.store.url,
        "identity": identity.model_dump(mode="json"),
        "identity_sha256": identity.sha256,
        "backbone": {
            "name": identity.backbone,
            "weights_sha256": identity.weights_sha256,
            "checkpoint": work.store.spec.checkpoint,
        },
        "preprocessing": identity.preprocessing,
        "classes": list(work.store.classes),
        "layers": sorted({layer for result in results for layer in result.candidate.layers}),
        "settings": work.settings.model_dump(mode="json"),
        "validation": {
            "how": work.split.how,
            "num_rows": len(work.split.validation),
            "num_train_rows": len(work.split.train),
            "rows_sha256": work.split.rows_sha256,
        },
        "versions": {name: importlib.metadata.version(name) for name in ("icecore", "torch", "numpy", "pyarrow")},
    }


def _cost(work: _Sweep, outcomes: list[_Outcome]) -> dict[str, Any]:
    """Seconds are added over the threads; bytes are what the layers read take on disk, for the rows read."""
    results = [result for outcome in outcomes for result in outcome.results]
    specs = work.store.spec.layers
    num_values = sum(spec.num_tokens * spec.width for spec in specs.values()) * work.store.num_rows
    spans = [outcome.results[0].candidate.layers for outcome in outcomes if outcome.results]
    num_rows = len(work.split.train) + 2 * len(work.split.validation)  # once to train by, once for what is kept
    num_read = sum(specs[layer].num_tokens * specs[layer].width for span in spans for layer in span) * num_rows
    return {
        "training_seconds": sum(outcome.training_seconds for outcome in outcomes),
        "reading_seconds": sum(outcome.reading_seconds for outcome in outcomes),
        "bytes_read": round(work.store.num_bytes() * num_read / max(1, num_values)),
        "num_adapters": len({result.candidate.adapter_id for result in results}),
        "num_diverged": sum(result.status != OK for result in results),
        "device": str(work.device),
        "compute_dtype": str(work.dtype).removeprefix("torch."),
    }
