"""New classes for a trained Open-InCA: their rows of query, weight and bias are trained, and nothing else moves.

The best `open_inca` of a run, by validation, is taken as it is. Of the store only rows of classes that the run does not
know are read, so that old data are never read again; the loss is over the new classes alone. What comes of it is a run
over the old classes and the new, the old logits to the last bit as they were. Whether logits of different steps can be
compared is up to the adapter: docs/open_inca.md.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from icecore.store import Store, UsageError, open_store

from .adapter import make_scope
from .adapters.open_inca import PER_CLASS, SHARED, OpenInCA, OpenInCAConfig
from .candidate import Candidate
from .device import resolve_device, resolve_dtype
from .feed import StoreFeed
from .group import Data, Group
from .halving import Halving
from .ledger import Ledger, Outcome
from .memory import hold
from .order import make_order
from .predict import predict
from .progress import Meter, Progress
from .record import record
from .relabelled import Relabelled
from .run import Run, open_run
from .settings import TrainSettings
from .split import hold_out
from .stack import Stack, start
from .sweep import sweep
from .target import Emphasis
from .targets import get_target
from .work import Work, conditions

SPREAD = 0.1  # of new classes, against that of the old


class NewClasses(OpenInCA):
    """A stack of which only what belongs to single classes learns."""

    untrained = SHARED


class Extension(Group):
    """The training of new classes on one adapter, whose tensors are given."""

    def __init__(self, base: dict[str, Tensor], *given: object) -> None:
        self._base = base
        super().__init__(*given)  # pyright: ignore[reportArgumentType]

    def fresh(self, candidates: list[Candidate]) -> Stack:
        """Return new classes on what is shared."""
        scope, device = self._scopes(candidates[0]), self._train.labels.device
        config = OpenInCAConfig.model_validate(candidates[0].config)
        drawn = [self._drawn(candidate.init_seed, scope.num_outputs) for candidate in candidates]
        stacked = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
        return start(candidates, NewClasses(config, scope, stacked).to(device), Emphasis())

    def _drawn(self, seed: int, num_classes: int) -> dict[str, Tensor]:
        """Return new classes about the mean of the old, at a tenth of their deviation, on what is shared."""
        generator, drawn = torch.Generator().manual_seed(seed), {name: self._base[name] for name in SHARED}
        for name in PER_CLASS:
            spread, centre = torch.std_mean(self._base[name], 0, correction=0)
            noise = torch.randn(num_classes, *centre.shape, generator=generator)
            drawn[name] = centre + SPREAD * spread * noise
        return drawn


def extend(store: str, out: str, settings: TrainSettings, progress: Callable[[Progress], None] | None = None) -> Run:
    """Train the classes of a store that a run does not know, and write a run that knows all; UsageError if none is."""
    begin = time.perf_counter()
    assert settings.extend is not None
    old = open_run(settings.extend)
    base, tensors = _best(old)
    source = _named(store, old)
    num_old = len(old.facts["classes"])
    work, candidates = _work(source, settings, num_old), _candidates(source, settings, base)
    with Ledger(out, conditions(work.split, settings, work.dtype), False).held(source):
        meter = Meter(begin, progress, 0, sum(candidate.recipe.epochs for candidate in candidates))
        group = _train(work, candidates, tensors, num_old, lambda count: meter.add(count, base.layers))
        trained = {key: _joined(tensors, new) for key, new in group.trained.items()}
        done = [candidate for candidate in candidates if candidate.adapter_id in trained]
        tables = predict(source, work.split.validation, trained, done, work.target, work.device)
        half = {key: table.half() for key, table in tables.items()}
        outcome = Outcome(group.results, trained, half, 0.0, time.perf_counter() - begin)
        return record(out, work, candidates, [outcome], time.perf_counter() - begin)


def _best(run: Run) -> tuple[Candidate, dict[str, Tensor]]:
    """Return the adapter to extend: of the highest validation score, then of the lowest loss."""
    kept, ranks = run.kept(), dict[str, tuple[float, float]]()
    for candidate, table in zip(kept.candidates, kept.predictions, strict=True):
        if candidate.adapter == "open_inca":
            scores = kept.target.score(table, kept.labels)
            ranks[candidate.adapter_id] = (-scores.score, scores.loss)
    if not ranks:
        raise UsageError(f"{run.path}: has no open_inca, whose classes alone can grow; train with --adapters open_inca")
    best = min(ranks, key=lambda key: (ranks[key], key))
    return run.candidates[best], run.tensors()[best]


def _named(url: str, old: Run) -> Store:
    """Open the store under the run's classes and its own new ones; refuse one of another backbone, or without any."""
    plain, known = open_store(url), tuple(old.facts["classes"])
    identity = plain.identity
    theirs, ours = old.facts["identity"], identity.model_dump(mode="json")
    for field in ("backbone", "weights_sha256", "preprocessing", "tokens"):
        if theirs[field] != ours[field]:
            raise UsageError(
                f"{url}: {field} is {ours[field]}, and {old.path} was trained on {theirs[field]}; extract alike"
            )
    if plain.spec.target != "class":
        raise UsageError(f"{url}: its target is {plain.spec.target!r}, expected 'class': only classes can be added")
    new = tuple(name for name in plain.classes if name not in known)
    if not new:
        raise UsageError(f"{url}: has no class that {old.path} does not know ({len(known)} classes); nothing to extend")
    return Relabelled(url, known + new)


def _work(source: Store, settings: TrainSettings, num_old: int) -> Work:
    """Settle the rows, those of new classes alone, and the machine."""
    source.require_complete()
    device, target = resolve_device(settings.device), get_target("class")
    split = hold_out(source, settings.validation, settings.shuffle_seed)
    train, validation = (rows[source.labels[rows] >= num_old] for rows in (split.train, split.validation))
    if not len(train) or not len(validation):
        raise UsageError(f"{source.url}: {len(train)} train and {len(validation)} validation rows of new classes")
    split = replace(split, train=train, validation=validation)
    dtype = resolve_dtype(settings.compute_dtype, device)
    return Work(source, settings, split, target, device, dtype, 1, settings.memory_bytes)


def _candidates(source: Store, settings: TrainSettings, base: Candidate) -> list[Candidate]:
    """Return the recipes of the settings, on the adapter that is extended."""
    alike = settings.model_copy(update={"adapters": ("open_inca",), "layers": str(base.layer)})
    config = base.config | {"extends": base.adapter_id}
    found = [candidate.model_copy(update={"config": config}) for candidate in sweep(source, alike)]
    return [Candidate.model_validate(candidate.model_dump()) for candidate in found]


def _train(
    work: Work, candidates: list[Candidate], base: dict[str, Tensor], num_old: int, progress: Callable[[int], None]
) -> Group:
    layers, store = candidates[0].layers, work.store
    scope = make_scope(store.spec, store.frozen(), layers, OpenInCA)
    scope = replace(scope, num_outputs=len(store.classes) - num_old)
    feeds = [
        StoreFeed(store, rows, layers, OpenInCA.reads, scope.eps, work.device, work.dtype, num_views=views)
        for rows, views in ((work.split.train, store.identity.views), (work.split.validation, 1))
    ]
    batch_size = candidates[0].recipe.batch_size
    labels = [torch.from_numpy(store.labels[feed.rows] - num_old).to(work.device) for feed in feeds]
    held = hold(feeds[0], replace(feeds[1], in_order=True), batch_size, work.memory_bytes)
    data = [Data(feed, truth) for feed, truth in zip(held, labels, strict=True)]
    group = Extension(base, candidates, lambda _: scope, *data, work.target, Halving(tuple(candidates), ()))
    group.run(make_order(store, work.split.train, batch_size, work.settings.shuffle_seed), progress)
    return group


def _joined(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return an adapter of the old classes and the new."""
    return {name: torch.cat([one, new[name]]) if name in PER_CLASS else one for name, one in old.items()}
