"""New classes for a trained Open-InCA: their rows of query, weight and bias are trained, and nothing else moves.

The best `open_inca` of a run, by validation, is taken as it is. Of the store only rows of classes that the run does not
know are read, so that old data are never read again; the loss is over the new classes alone. What comes of it is a run
over the old classes and the new, the old logits to the last bit as they were. Whether logits of different steps can be
compared is up to the adapter: docs/results/open_inca.md. Training itself is that of any sweep, and resumes as any does.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from icecore.store import Store, UsageError, open_store, resolve_compute_dtype, resolve_device

from ..adapters.adapter import Scope
from ..adapters.open_inca import PER_CLASS, SHARED, OpenInCA, OpenInCAConfig
from ..runs.candidate import Candidate
from ..runs.inputs import inputs_of
from ..runs.run import Run, open_run
from ..settings import TrainSettings
from ..splits.split import hold_out
from ..targets import get_target
from ..tokens.relabelled import Relabelled
from .grid import RECIPE_AXES, parse_layers, sweep
from .group import Data, Group
from .stack import Stack, start
from .task import SplitContext

SPREAD = 0.1  # of new classes, against that of the old

Tensors = dict[str, Tensor]


class NewClasses(OpenInCA):
    """A stack of which only what belongs to single classes learns."""

    untrained = SHARED


class Extension(Group):
    """The training of new classes on one adapter, `base`; labels are counted from its first class on."""

    def __init__(
        self,
        base: Tensors,
        candidates: Sequence[Candidate],
        scopes: Callable[[Candidate], Scope],
        train: Data,
        validation: Data,
        *others: object,
    ) -> None:
        self._base, num_old = base, len(base["bias"])

        def of_new(candidate: Candidate) -> Scope:
            scope = scopes(candidate)
            return replace(scope, num_outputs=scope.num_outputs - num_old)

        data = [replace(one, labels=one.labels - num_old) for one in (train, validation)]
        super().__init__(candidates, of_new, *data, *others)  # pyright: ignore[reportArgumentType]

    def fresh(self, candidates: list[Candidate]) -> Stack:
        """Return new classes on what is shared."""
        scope, device = self._scopes(candidates[0]), self._train.labels.device
        config = OpenInCAConfig.model_validate(candidates[0].config)
        drawn = [self._new(candidate.init_seed, scope.num_outputs) for candidate in candidates]
        stacked = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
        emphasis = self._emphasis(candidates, scope.num_outputs)
        return start(candidates, NewClasses(config, scope, stacked).to(device), emphasis)

    def _new(self, seed: int, num_classes: int) -> Tensors:
        """Return new classes about the mean of the old, at a tenth of their deviation, on what is shared."""
        generator, drawn = torch.Generator().manual_seed(seed), {name: self._base[name] for name in SHARED}
        for name in PER_CLASS:
            spread, centre = torch.std_mean(self._base[name], 0, correction=0)
            noise = torch.randn(num_classes, *centre.shape, generator=generator)
            drawn[name] = centre + SPREAD * spread * noise
        return drawn

    def _record(self, *given: Any, **named: Any) -> list[int]:
        """Keep what is finished with the old classes before the new."""
        before = set(self.trained)
        staying = super()._record(*given, **named)
        for key in self.trained.keys() - before:
            self.trained[key] = {
                name: torch.cat([self._base[name], one]) if name in PER_CLASS else one
                for name, one in self.trained[key].items()
            }
        return staying


@dataclass(frozen=True)
class Base:
    """The adapter that is extended, and the run that it is from."""

    run: Run
    candidate: Candidate
    tensors: Tensors

    @property
    def num_classes(self) -> int:
        """How many classes it knows."""
        return len(self.run.facts["classes"])


def base_of(run: str) -> Base:
    """Return the adapter of a run to extend: of the highest validation score, then of the lowest loss."""
    old = open_run(run)
    kept, ranks = old.kept(), dict[str, tuple[float, float]]()
    figures = zip(kept.candidates, kept.scores.tolist(), kept.row_losses.mean(1).tolist(), strict=True)
    for candidate, score, loss in figures:
        if candidate.adapter == "open_inca":
            ranks[candidate.adapter_id] = (-score, loss)
    if not ranks:
        raise UsageError(f"{old.path}: has no open_inca, whose classes alone can grow; train with --adapters open_inca")
    best = min(ranks, key=lambda key: (ranks[key], key))
    return Base(old, old.candidates[best], old.tensors()[best])


def extension_work(url: str, settings: TrainSettings, base: Base) -> SplitContext:
    """Settle the rows, those of new classes alone, and the machine; UsageError if there is no new class."""
    source = _named(url, base.run)
    source.require_complete()
    device, target = resolve_device(settings.device), get_target("class")
    split = hold_out(source, settings.validation, settings.shuffle_seed)
    train, validation = (rows[source.labels[rows] >= base.num_classes] for rows in (split.train, split.validation))
    if not len(train) or not len(validation):
        raise UsageError(f"{source.url}: {len(train)} train and {len(validation)} validation rows of new classes")
    split, inputs = (
        replace(split, train=train, validation=validation),
        inputs_of(source, np.concatenate([train, validation])),
    )
    dtype, group = resolve_compute_dtype(settings.compute_dtype, device), partial(Extension, base.tensors)
    return SplitContext(source, settings, inputs, split, target, device, dtype, 1, settings.memory_bytes, group)


def extension(source: Store, settings: TrainSettings, base: Base) -> list[Candidate]:
    """Return the recipes of the settings, on the adapter that is extended: known by its name and what it has learnt."""
    _require_alike(settings, source, base.candidate)
    alike = of_extension(settings).model_copy(update={"layers": str(base.candidate.layer)})
    digest = hashlib.sha256(save({name: tensor.contiguous() for name, tensor in base.tensors.items()})).hexdigest()
    config = base.candidate.config | {"extends": f"{base.candidate.adapter_id} {digest[:16]}"}
    found = [candidate.model_copy(update={"config": config}) for candidate in sweep(source, alike)]
    return list({one.adapter_id: one for one in (Candidate.model_validate(one.model_dump()) for one in found)}.values())


def of_extension(settings: TrainSettings) -> TrainSettings:
    """Return settings as they concern an extension: one family, and its layer whichever that is."""
    return settings.model_copy(update={"adapters": ("open_inca",), "layers": "all"})


def _require_alike(settings: TrainSettings, source: Store, base: Candidate) -> None:
    """Refuse options that say of the adapter something else than it is: it is extended as it stands."""
    asked = {"num_heads": settings.heads or ()} | settings.options.get("open_inca", {})
    for axis, values in asked.items():
        if axis not in RECIPE_AXES and any(value != base.config.get(axis) for value in values):
            raise UsageError(
                f"{axis} {list(values)}: the adapter that is extended has {base.config.get(axis)!r}; leave it out"
            )
    if "adapters" in settings.model_fields_set and settings.adapters != ("open_inca",):
        raise UsageError(f"--adapters {','.join(settings.adapters)}: open_inca alone can be extended; leave it out")
    if settings.layers != "all" and parse_layers(settings.layers, source) != base.layers:
        raise UsageError(
            f"--layers {settings.layers}: the adapter that is extended reads layer {base.layer}; leave it out"
        )


def _named(url: str, old: Run) -> Store:
    """Open the store under the run's classes and its own new ones; refuse one of another backbone, or without any."""
    plain, known = open_store(url), tuple(old.facts["classes"])
    theirs, ours = old.facts["identity"], plain.identity.model_dump(mode="json")
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
