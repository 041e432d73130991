"""The leaderboard of a selection: the best adapter of every family at every layer, selected or not."""

from dataclasses import replace

from ..runs.validation_predictions import ValidationPredictions
from .cost import Costs
from .measure import Measure, RowResults
from .selection import Figures, TableRow
from .test_split import TestPredictions

NUM_RESAMPLES = 200  # of an interval in the table, which has dozens


def best_of_each(kept: ValidationPredictions) -> list[str]:
    """Return the adapter_id of the best adapter, by validation, of every family and tuple of layers, sorted by both."""
    best: dict[tuple[str, tuple[int, ...]], tuple[float, float, str]] = {}
    for candidate, (score, loss) in zip(kept.candidates, kept.ranks, strict=True):
        rank = (score, loss, candidate.adapter_id)
        key = (candidate.adapter, candidate.layers)
        best[key] = min(best.get(key, rank), rank)
    return [best[key][2] for key in sorted(best, key=lambda key: (key[0], key[1]))]


def leaderboard_row(
    kept: ValidationPredictions, adapter_id: str, test: TestPredictions, measure: Measure, costs: Costs
) -> TableRow:
    """Return the leaderboard row of one adapter, with its validation and test figures."""
    place = next(index for index, one in enumerate(kept.candidates) if one.adapter_id == adapter_id)
    rough = replace(measure, settings=measure.settings.model_copy(update={"num_resamples": NUM_RESAMPLES}))
    candidate = kept.candidates[place]
    validation = rough.figures(RowResults(kept.verdicts[place], kept.row_losses[place]), kept.labels, kept.groups)
    found = _tested(test, adapter_id, rough)
    return TableRow(
        adapter=candidate.adapter,
        layer=candidate.layer,
        layers=candidate.layers,
        adapter_id=adapter_id,
        config=candidate.config,
        lr=candidate.recipe.lr,
        weight_decay=candidate.recipe.weight_decay,
        num_parameters=kept.num_parameters[place],
        multiply_adds=costs.adapter(candidate),
        validation_score=validation.score,
        validation_loss=validation.loss,
        validation_low=validation.low,
        validation_high=validation.high,
        test_score=None if found is None else found.score,
        test_low=None if found is None else found.low,
        test_high=None if found is None else found.high,
    )


def _tested(test: TestPredictions, adapter_id: str, measure: Measure) -> Figures | None:
    """Measure an adapter on the test rows that have a label; None where none has."""
    if not bool(test.known.any()):
        return None
    groups = None if test.groups is None else test.groups[test.known]
    return measure.figures(test.row_results[adapter_id], test.labels[test.known], groups)
