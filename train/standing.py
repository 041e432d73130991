"""The table of a selection: the best of every family at every layer, whether it was chosen or not."""

from dataclasses import replace

from .cost import Costs
from .kept import Kept
from .measure import Measure
from .selection import TableRow
from .testsplit import TestPredictions

NUM_RESAMPLES = 200  # of an interval in the table, which has dozens


def best_of_each(kept: Kept) -> list[str]:
    """Return the best by validation of every family and span of layers, in order of layers."""
    best: dict[tuple[str, tuple[int, ...]], tuple[float, float, str]] = {}
    for candidate, table in zip(kept.candidates, kept.predictions, strict=True):
        scores = kept.target.score(table, kept.labels)
        rank = (-scores.score, scores.loss, candidate.adapter_id)
        key = (candidate.adapter, candidate.layers)
        best[key] = min(best.get(key, rank), rank)
    return [best[key][2] for key in sorted(best, key=lambda key: (key[0], key[1]))]


def standing(kept: Kept, adapter_id: str, test: TestPredictions, measure: Measure, costs: Costs) -> TableRow:
    """Return how one adapter did."""
    place = next(index for index, one in enumerate(kept.candidates) if one.adapter_id == adapter_id)
    rough = replace(measure, settings=measure.settings.model_copy(update={"num_resamples": NUM_RESAMPLES}))
    candidate, predictions = kept.candidates[place], kept.predictions[place]
    validation = rough.figures(predictions, kept.labels, kept.groups)
    found = rough.known(test.predictions[adapter_id], test.labels, test.groups) if len(test.rows) else None
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
