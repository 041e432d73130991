"""Stage two: every adapter of a sweep, trained from a store; each layer is read once."""

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from icecore.store import IcecoreError, Store, open_store

from .adapter import make_scope
from .adapters import get_adapter
from .candidate import Candidate
from .device import resolve_device, resolve_dtype
from .feed import Feed, HeldFeed, StoreFeed
from .group import Data, EpochResult, Group
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


@dataclass
class _Sweep:
    """What grows while a sweep runs."""

    store: Store
    settings: TrainSettings
    split: Split
    device: torch.device
    dtype: torch.dtype
    results: list[EpochResult] = field(default_factory=list)
    trained: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    predictions: dict[str, Tensor] = field(default_factory=dict)
    reading_seconds: float = 0.0
    values_read: int = 0

    def labels(self, rows: Int64[np.ndarray, " row"]) -> Int64[Tensor, " row"]:
        """Return labels on the device."""
        return torch.from_numpy(self.store.labels[rows]).to(self.device)

    def feed(self, rows: Int64[np.ndarray, " row"], group: list[Candidate], eps: float) -> Feed:
        """Hold the rows on the device if they fit in the memory given, else read them as they are asked for."""
        begin = time.perf_counter()
        reads = frozenset(get_adapter(candidate.adapter).reads for candidate in group)
        feed = StoreFeed(self.store, rows, group[0].layers, reads, eps, self.device, self.dtype)
        held = HeldFeed(feed) if feed.num_bytes() <= self.settings.memory_bytes else feed
        specs = [self.store.spec.layers[layer] for layer in group[0].layers]
        self.values_read += len(rows) * sum(spec.num_tokens * spec.width for spec in specs)
        self.reading_seconds += time.perf_counter() - begin
        return held


def train(
    store: str, out: str, settings: TrainSettings, progress: Callable[[Progress], None] | None = None
) -> Run:
    """Train every candidate of the settings and write the RUN folder `out`; IcecoreError before any work is lost."""
    begin = time.perf_counter()
    source = open_store(store)
    _check(source)
    require_free(out, source.identity.sha256)
    candidates = sweep(source, settings)
    device = resolve_device(settings.device)
    split = hold_out(source, settings.validation, settings.shuffle_seed)
    work = _Sweep(source, settings, split, device, resolve_dtype(settings.compute_dtype, device))
    total, done = sum(candidate.recipe.epochs for candidate in candidates), 0
    for group in _groups(candidates):

        def report(count: int, layers: tuple[int, ...] = group[0].layers) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(Progress(done, total, layers, time.perf_counter() - begin))

        _train_group(work, group, report)
    return _write(work, out, time.perf_counter() - begin)


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


def _train_group(work: _Sweep, candidates: list[Candidate], report: Callable[[int], None]) -> None:
    backbone = work.store.frozen()
    scopes = {
        one.adapter: make_scope(work.store.spec, backbone, one.layers, get_adapter(one.adapter)) for one in candidates
    }
    eps = scopes[candidates[0].adapter].eps
    rows = (work.split.train, work.split.validation)
    data = [Data(work.feed(part, candidates, eps), work.labels(part)) for part in rows]
    group = Group(candidates, lambda candidate: scopes[candidate.adapter], *data)
    group.run(work.settings.shuffle_seed, report)
    work.results += group.results
    work.trained |= group.trained
    finished = [candidate for candidate in candidates if candidate.adapter_id in group.trained]
    work.predictions |= predict(work.store, work.split.validation, group.trained, finished, work.device)


def _write(work: _Sweep, out: str, elapsed_seconds: float) -> Run:
    source, identity = work.store, work.store.identity
    num_values = source.num_rows * sum(spec.num_tokens * spec.width for spec in source.spec.layers.values())
    files = {
        "results.parquet": results_bytes(work.results),
        "adapters.safetensors": adapters_bytes(work.trained),
        "validation.parquet": validation_bytes(
            work.predictions, work.split.validation, torch.from_numpy(source.labels[work.split.validation])
        ),
    }
    facts = {
        "store": source.url,
        "identity": identity.model_dump(mode="json"),
        "identity_sha256": identity.sha256,
        "backbone": {
            "name": identity.backbone,
            "weights_sha256": identity.weights_sha256,
            "checkpoint": source.spec.checkpoint,
        },
        "preprocessing": identity.preprocessing,
        "classes": list(source.classes),
        "layers": sorted({layer for result in work.results for layer in result.candidate.layers}),
        "settings": work.settings.model_dump(mode="json"),
        "validation": {
            "how": work.split.how,
            "num_rows": len(work.split.validation),
            "num_train_rows": len(work.split.train),
            "rows_sha256": work.split.rows_sha256,
        },
        "cost": {
            "training_seconds": elapsed_seconds - work.reading_seconds,
            "reading_seconds": work.reading_seconds,
            "bytes_read": round(source.num_bytes() * work.values_read / max(1, num_values)),
            "num_adapters": len({result.candidate.adapter_id for result in work.results}),
            "num_diverged": sum(result.status != "ok" for result in work.results),
            "device": str(work.device),
            "compute_dtype": str(work.dtype).removeprefix("torch."),
        },
        "versions": {name: importlib.metadata.version(name) for name in ("icecore", "torch", "numpy", "pyarrow")},
    }
    return write_run(out, files, facts)
