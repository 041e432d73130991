"""The candidates of a sweep: every point of the grid that the settings span."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping

from pydantic import ValidationError

from icecore.store import SUM, Frozen, LayerSpec, Store, UsageError, layer_name, parse_layer_list, validation_message

from ..adapters import get_adapter
from ..adapters.adapter import Adapter, Scope, make_scope
from ..adapters.optional import ClosedForm
from ..runs.candidate import Candidate, Recipe
from ..scores.score import top_layers
from ..settings import TrainSettings

SOLVED: dict[str, object] = {"lr": 0.0, "weight_decay": 0.0, "epochs": 1}  # recipe of a family with a closed form
SHARED_AXES = {
    "queries": "num_queries",
    "heads": "num_heads",
    "pooling": "pooling",
}  # axis of a family's configuration, by option
RECIPE_AXES = ("lr", "weight_decay", "epochs", "label_smoothing", "dropout", "class_weights")


def sweep(store: Store, settings: TrainSettings) -> list[Candidate]:
    """Return every candidate once, sorted by layers.

    Raises:
        UsageError: a candidate cannot be trained from this store, or an option is unknown.
    """
    unknown = set(settings.options) - set(settings.adapters)
    if unknown:
        raise UsageError(f"options for {sorted(unknown)}: not among the adapters {list(settings.adapters)}")
    layers = parse_layers(settings.layers, store)
    candidates: dict[str, Candidate] = {}
    for name in settings.adapters:
        family = get_adapter(name)
        scopes = functools.cache(lambda group, family=family: make_scope(store, group, family))
        for values in _grid(family, name, store.spec.layers[layers[-1]], settings):
            for candidate in _candidates(name, values, layers, scopes, settings):
                candidates[candidate.adapter_id] = candidate
    return sorted(candidates.values(), key=lambda candidate: candidate.layers)


def parse_layers(text: str, store: Store) -> tuple[int, ...]:
    """Return the layers that `all`, `top:5` (by score), `sum` or a list such as `0,3,6-12` names, ascending.

    Raises:
        UsageError: the text cannot be read, or names a layer twice or one that the store lacks.
    """
    kind, _, count = text.partition(":")
    if kind.strip() == "top" and count.strip().isdecimal():
        return top_layers(store, int(count))
    has = f"the store has layers {', '.join(map(layer_name, store.layers))}; extract with --layers"
    layers = parse_layer_list(
        text, store.layers, has=has, forms="all, sum, top:5, or numbers and ranges such as 0,3,6-12"
    )
    if twice := sorted({layer for layer in layers if layers.count(layer) > 1}):
        raise UsageError(f"layers {text!r}: {', '.join(map(layer_name, twice))} twice; name each once")
    return tuple(sorted(layers))


def _grid(family: type[Adapter], name: str, spec: LayerSpec, settings: TrainSettings) -> Iterator[dict[str, object]]:
    """Yield every combination of a family's axes, with the family's default values where the settings have none."""
    shared = {axis: getattr(settings, option) for option, axis in SHARED_AXES.items()}
    recipe = {axis: getattr(settings, axis) for axis in RECIPE_AXES if axis != "epochs"} | {
        "epochs": (settings.epochs,)
    }
    recipe = {axis: (value,) for axis, value in SOLVED.items()} if issubclass(family, ClosedForm) else recipe
    asked = {axis: values for axis, values in shared.items() if axis in family.Config.model_fields} | recipe
    axes = {**Adapter.default_grid(spec), **family.default_grid(spec)} | {
        axis: values for axis, values in asked.items() if values
    }
    own = settings.options.get(name, {})
    if issubclass(family, ClosedForm) and (moot := sorted(set(own) & set(RECIPE_AXES))):
        raise UsageError(
            f"options {moot} of adapter {name!r}: it is solved in closed form, which has no recipe; leave them out"
        )
    axes |= {axis: tuple(values) for axis, values in own.items()}
    for point in itertools.product(*axes.values()):
        yield dict(zip(axes, point, strict=True))


def _candidates(
    name: str,
    values: Mapping[str, object],
    layers: tuple[int, ...],
    scopes: Callable[[tuple[int, ...]], Scope],
    settings: TrainSettings,
) -> Iterator[Candidate]:
    """Yield the candidates of one point of the grid: one for each group of layers and seed."""
    family = get_adapter(name)
    config, recipe = _validated(family, name, values, settings)
    for group in _layer_groups(family, config, layers):
        resolved = family.resolve(config, scopes(group))
        reason = family.incompatibility(resolved, scopes(group))
        if reason:
            raise UsageError(f"adapter {name!r} at layer {layer_name(max(group))}: {reason}")
        for seed in range(1 if issubclass(family, ClosedForm) else settings.seeds):
            seeded = recipe.model_copy(update={"seed": seed})
            yield Candidate(adapter=name, layers=group, config=resolved.model_dump(mode="json"), recipe=seeded)


def _layer_groups(family: type[Adapter], config: Frozen, layers: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the family's groups of layers.

    The stored sum of all layers is read by a family that needs the sum alone, and by any where it is the only layer.
    """
    single = tuple(layer for layer in layers if layer != SUM)
    if len(single) < len(layers) and (family.reads_layer_sum or not single):
        return [(SUM,)]
    return family.layer_groups(config, single)


def _validated(
    family: type[Adapter], name: str, values: Mapping[str, object], settings: TrainSettings
) -> tuple[Frozen, Recipe]:
    config = {key: value for key, value in values.items() if key not in RECIPE_AXES}
    recipe = {key: values[key] for key in RECIPE_AXES if key in values} | {
        "batch_size": settings.batch_size,
        "clip": settings.clip,
    }
    try:
        return family.Config.model_validate(config), Recipe.model_validate(recipe)
    except ValidationError as error:
        known = ", ".join([*family.Config.model_fields, *RECIPE_AXES])
        message = validation_message(error, lambda key: f"option {key!r} of adapter {name!r}")
        raise UsageError(f"{message}; it has {known}") from None
