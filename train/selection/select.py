"""Select among the adapters of a run by validation predictions alone, then read the test split once.

A selection fails if the RUN is trained further meanwhile; a lock keeps two selections from running at once.
"""

import io
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from icecore.store import IcecoreError, Store, only_writer, resolve_device

from ..runs.candidate import Candidate
from ..runs.inputs import rows_sha256
from ..runs.origin import open_run_store, require_known_classes
from ..runs.result import best_first
from ..runs.run import Run, open_run
from ..runs.validation_predictions import ValidationPredictions
from ..settings import SelectSettings
from ..splits.split import groups_of
from ..targets.target import Target
from .bundle import bundle_files
from .choice import choose, eligible
from .chosen import SETS, write_chosen
from .cost import Cost, Costs
from .leaderboard import best_of_each, leaderboard_row
from .measure import Measure, RowResults
from .out_of_bag import out_of_bag_estimate, redrawn
from .selection import Figures, Selected, Selection
from .test_split import TestPredictions, TestSplit, record_test_read


def select(run: str, settings: SelectSettings) -> Selection:
    """Select adapters, measure them on the test split, and write selection.json, test.parquet and bundle, in one step.

    Raises:
        UsageError: `run` is not a RUN folder, or the settings leave no adapter to select.
        LockedError: another process selects in the same RUN.
        IcecoreError: the RUN was trained further meanwhile, or one of its files is damaged.
    """
    opened = open_run(run)
    store = open_run_store(opened)
    require_known_classes(opened, store)
    with only_writer(f"{run}/{SETS}"):
        return _select(opened, store, settings)


def _select(opened: Run, store: Store, settings: SelectSettings) -> Selection:
    costs, everything = Costs(store), _kept(opened, store)
    kept = eligible(everything, settings, costs)
    measure = Measure(kept.target, settings)
    draws = redrawn(kept, settings)
    weights, *again = choose(kept, [kept.every_row, *draws], settings, costs)  # at once: predictions are read once
    validation = _validation(kept, weights, measure)
    estimate = out_of_bag_estimate(kept, settings, draws, again, validation.score)
    winners = best_of_each(everything)
    asked = [one for one in everything.candidates if one.adapter_id in weights or one.adapter_id in winners]
    tensors = opened.tensors({one.adapter_id for one in asked})
    _require_unchanged(opened)

    # The choice is made. Only now is the test split read, once; the run keeps count of every choice that did.
    sealed, num_test_reads = TestSplit(store, kept.target), record_test_read(opened.path, settings.selector)
    test = sealed.predict_once(asked, tensors, resolve_device(settings.device), [weights])
    table = tuple(leaderboard_row(everything, winner, test, measure, costs) for winner in winners)
    figures = measure.known(test.mixtures[0], test.labels, test.groups)
    selection = Selection(
        selector=settings.selector,
        settings=settings.model_dump(mode="json"),
        score_name=kept.target.score_name,
        loss_name=kept.target.loss_name,
        selected=_selected(kept, weights),
        validation=validation,
        honest=estimate,
        test=figures,
        test_optimism=None if figures is None else validation.score - figures.score,
        winner=(winner := min(table, key=lambda row: best_first(row.validation_score, row.validation_loss))),
        winner_test_optimism=None if winner.test_score is None else winner.validation_score - winner.test_score,
        cost=_cost(kept, weights, costs),
        num_test_reads=num_test_reads,
        num_candidates=len(everything.candidates),
        num_eligible=len(kept.candidates),
        table=table,
        run_sha256=opened.sha256,
        test_rows_sha256=rows_sha256(store, test.rows),
    )
    bundle = bundle_files(opened, store, selection, tensors)
    _require_unchanged(opened)
    write_chosen(opened.path, selection, _test_bytes(test, kept.target, store), bundle)
    return selection


def _require_unchanged(run: Run) -> None:
    """Refuse to choose among adapters that are no longer those of the RUN."""
    if open_run(run.path).sha256 != run.sha256:
        raise IcecoreError(f"{run.path}: was trained further while select chose; run icecore select {run.path} again")


def _validation(kept: ValidationPredictions, chosen: Mapping[str, float], measure: Measure) -> Figures:
    weights = kept.weights([chosen])
    answers = RowResults(kept.verdicts_of(weights, [kept.every_row])[0], kept.losses_of(weights)[0])
    return measure.figures(answers, kept.labels, kept.groups)


def _kept(run: Run, store: Store) -> ValidationPredictions:
    run.require_finished()
    kept = run.validation_predictions()
    return replace(kept, groups=groups_of(store, kept.rows.numpy()))


def _selected(kept: ValidationPredictions, weights: Mapping[str, float]) -> tuple[Selected, ...]:
    by_id = {one.adapter_id: one for one in kept.candidates}
    ordered = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    return tuple(_as_selected(by_id[adapter_id], weight) for adapter_id, weight in ordered)


def _as_selected(one: Candidate, weight: float) -> Selected:
    return Selected(
        adapter=one.adapter,
        layer=one.layer,
        layers=one.layers,
        config=one.config,
        weight=weight,
        adapter_id=one.adapter_id,
    )


def _cost(kept: ValidationPredictions, weights: Mapping[str, float], costs: Costs) -> Cost:
    sizes = zip(kept.candidates, kept.num_parameters, strict=True)
    num_parameters = sum(size for one, size in sizes if one.adapter_id in weights)
    return costs.of([one for one in kept.candidates if one.adapter_id in weights], num_parameters)


def _test_bytes(test: TestPredictions, target: Target, store: Store) -> bytes:
    """Return test.parquet: a class and its probability a row where the target is a class, else all predictions."""
    table = test.mixtures[0]
    columns: dict[str, pa.Array] = {"row": pa.array(test.rows, pa.int64()), "key": pa.array(test.keys, pa.string())}
    if target.score_name == "top1":
        probability, prediction = table.max(1)
        columns |= {"label": pa.array(test.labels.numpy()), "prediction": pa.array(prediction.numpy())}
        columns["probability"] = pa.array(probability.numpy())
    else:
        labels, told = target.labels(store, test.rows), target.in_data_unit(table)
        columns |= {"label": pa.array(labels.tolist()), "prediction": pa.array(told.tolist())}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, write_page_checksum=True)
    return sink.getvalue()
