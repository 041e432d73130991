"""Refusal of options that would change nothing, before any token is read: an option that is given should count."""

from collections.abc import Iterator, Sequence

from icecore.store import SUM, Store, UsageError, layer_name

from ..adapters import get_adapter
from ..adapters.optional import ClosedForm
from ..runs.candidate import Candidate, Recipe
from ..settings import TrainSettings
from .grid import RECIPE_AXES, SHARED_AXES, parse_layers
from .halving import RUNGS, Halving

OF_TRAINING = ("batch_size", "clip", "seeds", "halving")  # by gradient descent, whatever the family


def require_effect(store: Store, settings: TrainSettings, candidates: Sequence[Candidate]) -> None:
    """Raise UsageError for a given option on which no candidate and no row depends."""
    given = _given(settings)
    for option, reason in _idle(store, settings, candidates):
        if option in given:
            raise UsageError(f"--{option.replace('_', '-')}: {reason}; leave it out")
    if store.spec.target == "regression":
        _require_classless(candidates)


def _given(settings: TrainSettings) -> set[str]:
    """Return the options that were given; of settings that a RUN recorded, which set every field, the non-defaults."""
    fields, values = TrainSettings.model_fields, settings.model_dump()
    named = {name for name in settings.model_fields_set if values[name] is not None and values[name] is not False}
    if settings.model_fields_set == fields.keys():
        plain = TrainSettings().model_dump()
        return {name for name in named if values[name] != plain[name]}
    return named


def _idle(store: Store, settings: TrainSettings, candidates: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
    """Yield every option that has no effect on this sweep, given or not, and the reason."""
    yield from _idle_axes(settings)
    families, has_own = ", ".join(settings.adapters), len(store.rows("validation")) > 0
    is_solved = all(issubclass(get_adapter(name), ClosedForm) for name in settings.adapters)
    if is_solved:
        yield from ((option, f"{families} is solved in closed form, without training") for option in OF_TRAINING)
        if has_own:
            yield "shuffle_seed", f"no order and no held-out row depends on it where {families} is solved"
    if has_own:
        yield "validation", f"{store.url} has a split named 'validation', which is used as it is"
    elif settings.folds:
        yield "validation", "--folds hold out every train row once"
    if Halving(candidates, RUNGS).num_epochs == Halving(candidates, ()).num_epochs:
        yield "halving", "no adapter has another to be measured against, or an epoch to be stopped before"
    if settings.scheduler is not None:
        yield "workers", "--scheduler names a cluster, whose own workers are used"
    if unread := _unread(store, settings, candidates):
        yield "layers", f"{', '.join(map(layer_name, unread))} of {settings.layers!r} is read by none of {families}"


def _idle_axes(settings: TrainSettings) -> Iterator[tuple[str, str]]:
    """Yield the axes that no family of the sweep has, or that every family has from `options`, and the reason."""
    for option, axis in {**SHARED_AXES, **{name: name for name in RECIPE_AXES}}.items():
        having = [name for name in settings.adapters if _has(name, axis)]
        if not having:
            yield option, f"none of the adapters {', '.join(settings.adapters)} has {axis}"
        elif all(axis in settings.options.get(name, {}) for name in having):
            yield option, f"options already set {axis} for {', '.join(having)}"


def _has(name: str, axis: str) -> bool:
    family = get_adapter(name)
    return axis in family.Config.model_fields or (axis in Recipe.model_fields and not issubclass(family, ClosedForm))


def _unread(store: Store, settings: TrainSettings, candidates: Sequence[Candidate]) -> list[int]:
    """Return the named layers that no candidate reads.

    With `every` above 1 a family skips layers on purpose, so that only an unread sum counts.
    """
    if settings.layers == "all" or settings.layers.startswith("top"):
        return []
    read = {layer for candidate in candidates for layer in candidate.layers}
    is_thinned = any(candidate.config.get("every", 1) != 1 for candidate in candidates)
    left = set(parse_layers(settings.layers, store)) - read
    return sorted(left & {SUM} if is_thinned else left)


def _require_classless(candidates: Sequence[Candidate]) -> None:
    for candidate in candidates:
        if candidate.recipe.label_smoothing:
            raise UsageError("label smoothing: the target is regression, which has no classes; use 0")
        if candidate.recipe.class_weights != "none":
            raise UsageError("class weights 'balanced': the target is regression, which has no classes; use none")
