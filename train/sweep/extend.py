"""Adding classes to a trained Open-InCA: the rows of the new classes are trained, and nothing else moves.

The best `open_inca` adapter of a run, by validation score, is extended. Only rows of classes that the run does not know
are read from the store, so that old data are never needed again, and the loss is over the new classes alone. The result
is a run over the old and the new classes, in which the logits of the old classes are unchanged to the last bit. Whether
logits that were trained at different times can be compared depends on the adapter: docs/results/open_inca.md. Training
itself is the training of any sweep, and resumes in the same way.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from icecore.store import Store, UsageError, open_store, resolve_compute_dtype, resolve_device

from ..adapters.adapter import Adapter, Scope
from ..adapters.open_inca import PER_CLASS, SHARED, OpenInCA, OpenInCAConfig
from ..runs.candidate import Candidate
from ..runs.inputs import inputs_of
from ..runs.run import Run, open_run
from ..settings import TrainSettings
from ..splits.split import hold_out
from ..targets import get_target
from ..targets.target import Labels
from ..tokens.relabelled import Relabelled
from .grid import RECIPE_AXES, parse_layers, sweep
from .group import AdapterSource
from .task import SplitContext

SPREAD = 0.1  # standard deviation of the initial new classes, relative to the deviation of the old classes

Tensors = dict[str, Tensor]


class NewClasses(OpenInCA):
    """A stack in which only the tensors with a row per class are trained."""

    untrained = SHARED


@dataclass(frozen=True)
class Extension(AdapterSource):
    """New classes on the shared tensors of a trained adapter, whose tensors are `base`.

    The group's labels and outputs count the new classes from 0; the base's classes come before them in the store.
    """

    base: Tensors

    @property
    def _num_old(self) -> int:
        return len(self.base["bias"])

    def scope(self, scope: Scope) -> Scope:
        """Return the scope with the new classes alone as outputs."""
        return replace(scope, num_outputs=scope.num_outputs - self._num_old)

    def labels(self, labels: Labels) -> Labels:
        """Return labels that count from the first new class."""
        return labels - self._num_old

    def build(self, candidates: Sequence[Candidate], scope: Scope) -> Adapter:
        """Return a stack with freshly drawn new classes on the base's shared tensors."""
        config = OpenInCAConfig.model_validate(candidates[0].config)
        drawn = [self._draw(candidate.init_seed, scope.num_outputs) for candidate in candidates]
        stacked = {name: torch.stack([tensors[name] for tensors in drawn]) for name in drawn[0]}
        return NewClasses(config, scope, stacked)

    def trained(self, tensors: Tensors) -> Tensors:
        """Return the tensors over all classes: the rows of the old classes, then the rows of the new classes."""
        return {
            name: torch.cat([self.base[name], tensor]) if name in PER_CLASS else tensor
            for name, tensor in tensors.items()
        }

    def _draw(self, seed: int, num_classes: int) -> Tensors:
        """Return new classes drawn around the mean of the old classes, beside the shared tensors."""
        generator, drawn = torch.Generator().manual_seed(seed), {name: self.base[name] for name in SHARED}
        for name in PER_CLASS:
            deviation, mean = torch.std_mean(self.base[name], 0, correction=0)
            noise = torch.randn(num_classes, *mean.shape, generator=generator)
            drawn[name] = mean + SPREAD * deviation * noise
        return drawn


@dataclass(frozen=True)
class Base:
    """The adapter to extend, and the run that trained it."""

    run: Run
    candidate: Candidate
    tensors: Tensors

    @property
    def num_classes(self) -> int:
        """The number of classes of the run."""
        return len(self.run.facts["classes"])


def base_of(run: str) -> Base:
    """Return the `open_inca` adapter of a run with the highest validation score, then the lowest validation loss.

    Raises:
        UsageError: the run has no `open_inca` adapter.
    """
    old = open_run(run)
    predictions = old.validation_predictions()
    ranks = {
        candidate.adapter_id: rank
        for candidate, rank in zip(predictions.candidates, predictions.ranks, strict=True)
        if candidate.adapter == "open_inca"
    }
    if not ranks:
        raise UsageError(f"{old.path}: has no open_inca, whose classes alone can grow; train with --adapters open_inca")
    best = min(ranks, key=lambda key: (ranks[key], key))
    return Base(old, old.candidates[best], old.tensors()[best])


def extension_work(url: str, settings: TrainSettings, base: Base) -> SplitContext:
    """Return the context in which new classes are trained: the rows of new classes, and the device.

    Raises:
        UsageError: the store has no new class, no rows of new classes, or another backbone than the run.
    """
    source = _named(url, base.run)
    source.require_complete()
    device, target = resolve_device(settings.device), get_target("class")
    split = hold_out(source, settings.validation, settings.shuffle_seed)
    train, validation = (rows[source.labels[rows] >= base.num_classes] for rows in (split.train, split.validation))
    if not len(train) or not len(validation):
        raise UsageError(f"{source.url}: {len(train)} train and {len(validation)} validation rows of new classes")
    return SplitContext(
        store=source,
        settings=settings,
        inputs=inputs_of(source, np.concatenate([train, validation])),
        split=replace(split, train=train, validation=validation),
        target=target,
        device=device,
        dtype=resolve_compute_dtype(settings.compute_dtype, device),
        num_workers=1,
        memory_bytes=settings.memory_bytes,
        adapter_source=Extension(base.tensors),
    )


def extension(source: Store, settings: TrainSettings, base: Base) -> list[Candidate]:
    """Return a candidate for every recipe of the settings; its configuration names the base and the base's digest."""
    _require_alike(settings, source, base.candidate)
    alike = of_extension(settings).model_copy(update={"layers": str(base.candidate.layer)})
    digest = hashlib.sha256(save({name: tensor.contiguous() for name, tensor in base.tensors.items()})).hexdigest()
    config = base.candidate.config | {"extends": f"{base.candidate.adapter_id} {digest[:16]}"}
    candidates = [
        Candidate.model_validate(candidate.model_dump() | {"config": config}) for candidate in sweep(source, alike)
    ]
    return list({candidate.adapter_id: candidate for candidate in candidates}.values())


def of_extension(settings: TrainSettings) -> TrainSettings:
    """Return settings for an extension, whose family is open_inca and whose layer is the layer of the base."""
    return settings.model_copy(update={"adapters": ("open_inca",), "layers": "all"})


def _require_alike(settings: TrainSettings, source: Store, base: Candidate) -> None:
    """Raise UsageError for an option that contradicts the base: it is extended as it is."""
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
    """Open the store with the run's classes first, then the store's new classes.

    Raises:
        UsageError: the store has another backbone, preprocessing or tokens, is not of classes, or has no new class.
    """
    plain, known = open_store(url), tuple(old.facts["classes"])
    old_identity, identity = old.facts["identity"], plain.identity.model_dump(mode="json")
    for field in ("backbone", "weights_sha256", "preprocessing", "tokens"):
        if old_identity[field] != identity[field]:
            raise UsageError(
                f"{url}: {field} is {identity[field]}, and {old.path} was trained on "
                f"{old_identity[field]}; extract alike"
            )
    if plain.spec.target != "class":
        raise UsageError(f"{url}: its target is {plain.spec.target!r}, expected 'class': only classes can be added")
    new = tuple(name for name in plain.classes if name not in known)
    if not new:
        raise UsageError(f"{url}: has no class that {old.path} does not know ({len(known)} classes); nothing to extend")
    return Relabelled(url, known + new)
