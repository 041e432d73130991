"""The candidates of a sweep: the grid of the settings, taken apart."""

import itertools
from collections.abc import Mapping

from pydantic import ValidationError

from icecore.store import Store, UsageError

from .adapter import Scope, make_scope
from .adapters import get_adapter
from .candidate import Candidate, Recipe
from .score import top_layers
from .settings import TrainSettings

RECIPE_AXES = ("lr", "weight_decay", "epochs")


def sweep(store: Store, settings: TrainSettings) -> list[Candidate]:
    """Return every candidate once, layer by layer; UsageError for what cannot be trained from this store."""
    unknown = set(settings.options) - set(settings.adapters)
    if unknown:
        raise UsageError(f"options for {sorted(unknown)}: not among the adapters {list(settings.adapters)}")
    found: dict[str, Candidate] = {}
    layers, backbone = parse_layers(settings.layers, store), store.frozen()
    for name in settings.adapters:
        for span in get_adapter(name).spans(layers):
            scope = make_scope(store.spec, backbone, span, get_adapter(name))
            found |= {candidate.adapter_id: candidate for candidate in _of_family(name, scope, settings)}
    return sorted(found.values(), key=lambda candidate: candidate.layers)


def parse_layers(text: str, store: Store) -> tuple[int, ...]:
    """Read `all`, `top:5` by score, or numbers and ranges such as `0,3,6-12`, among the layers that a store has."""
    if text == "all":
        return store.layers
    kind, _, count = text.partition(":")
    if kind.strip() == "top" and count.strip().isdecimal():
        return top_layers(store, int(count))
    chosen: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if not low.isdecimal() or (high and not high.isdecimal()):
            raise UsageError(f"layers {text!r}: expected all, or numbers and ranges such as 0,3,6-12, or top:5")
        chosen |= set(range(int(low), int(high or low) + 1))
    missing = sorted(chosen - set(store.layers))
    if missing or not chosen:
        names = ", ".join(map(str, store.layers))
        raise UsageError(f"layers {text!r}: {missing} not in the store, which has {names}; extract with --layers")
    return tuple(sorted(chosen))


def _of_family(name: str, scope: Scope, settings: TrainSettings) -> list[Candidate]:
    family = get_adapter(name)
    shared = {"num_queries": settings.queries, "num_heads": settings.heads, "pooling": settings.pooling}
    recipe = {"lr": settings.lr, "weight_decay": settings.weight_decay, "epochs": (settings.epochs,)}
    axes = {axis: values for axis, values in shared.items() if values and axis in family.Config.model_fields}
    axes = axes | recipe | {axis: tuple(values) for axis, values in settings.options.get(name, {}).items()}
    candidates: list[Candidate] = []
    for point in itertools.product(*axes.values()):
        values = dict(zip(axes, point, strict=True))
        for seed in range(settings.seeds):
            candidates.append(_candidate(name, scope, settings, values, seed))
    return candidates


def _candidate(name: str, scope: Scope, settings: TrainSettings, values: Mapping[str, object], seed: int) -> Candidate:
    family = get_adapter(name)
    config = {key: value for key, value in values.items() if key not in RECIPE_AXES}
    fixed = {"batch_size": settings.batch_size, "clip": settings.clip, "seed": seed}
    try:
        settled = family.settle(family.Config.model_validate(config), scope)
        recipe = Recipe.model_validate({key: values[key] for key in RECIPE_AXES} | fixed)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        known = ", ".join([*family.Config.model_fields, *RECIPE_AXES])
        raise UsageError(
            f"option {where!r} of adapter {name!r}: {first['msg'].lower()}, got {first['input']!r}; it has {known}"
        ) from None
    refusal = family.refuse(settled, scope)
    if refusal:
        raise UsageError(f"adapter {name!r} at layer {max(scope.layers)}: {refusal}")
    return Candidate(adapter=name, layers=scope.layers, config=settled.model_dump(mode="json"), recipe=recipe)
