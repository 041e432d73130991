"""The choice: limits on layer and cost decide which adapters are eligible, then a selector weighs the eligible ones."""

from collections.abc import Sequence

from icecore.store import UsageError

from ..runs.validation_predictions import Places, ValidationPredictions
from ..settings import SelectSettings
from .cost import Costs
from .selectors import get_selector


def eligible(kept: ValidationPredictions, settings: SelectSettings, costs: Costs) -> ValidationPredictions:
    """Return the adapters within the limits on layer and cost, sorted by layer, number of parameters and adapter_id.

    Raises:
        UsageError: no adapter is within the limits.
    """
    deepest = _deepest(kept, settings, costs)
    ranks = [(one.layer, size, one.adapter_id) for one, size in zip(kept.candidates, kept.num_parameters, strict=True)]
    places = sorted(range(len(ranks)), key=lambda place: ranks[place])
    within = [place for place in places if deepest is None or ranks[place][0] <= deepest]
    if not within:
        layers = sorted({layer for layer, _, _ in ranks})
        asked = f"--max-layer {settings.max_layer}" if settings.max_cost is None else f"--max-cost {settings.max_cost}"
        raise UsageError(f"{asked}: no adapter is within it, the run has layers {layers}; allow more, or train others")
    return kept.subset(within)


def choose(
    kept: ValidationPredictions, draws: Sequence[Places], settings: SelectSettings, costs: Costs
) -> list[dict[str, float]]:
    """Return the choice from each draw of rows: positive weights that sum to one, by adapter_id.

    While a choice costs more than `max_cost`, its deepest layer is excluded and the choice is repeated.
    """
    weights = get_selector(settings.selector)(kept, draws, settings)
    ids = [one.adapter_id for one in kept.candidates]
    found = [{key: share for key, share in zip(ids, one, strict=True) if share > 0} for one in weights.tolist()]
    if settings.max_cost is None:
        return found
    return [_afforded(kept, drawn, one, settings, costs) for drawn, one in zip(draws, found, strict=True)]


def _afforded(
    kept: ValidationPredictions, drawn: Places, weights: dict[str, float], settings: SelectSettings, costs: Costs
) -> dict[str, float]:
    members = [one for one in kept.candidates if one.adapter_id in weights]
    if costs.share(members) <= (settings.max_cost or 0):
        return weights
    deepest = max(one.layer for one in members)
    shallower = [place for place, one in enumerate(kept.candidates) if one.layer < deepest]
    if not shallower:
        raise UsageError(f"--max-cost {settings.max_cost}: no choice is within it; allow more, or choose fewer")
    return choose(kept.subset(shallower), [drawn], settings, costs)[0]


def _deepest(kept: ValidationPredictions, settings: SelectSettings, costs: Costs) -> int | None:
    if settings.max_cost is None:
        return settings.max_layer
    within = [one.layer for one in kept.candidates if costs.share([one]) <= settings.max_cost]
    deepest = max(within, default=-1)
    return deepest if settings.max_layer is None else min(deepest, settings.max_layer)
