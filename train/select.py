"""Choosing among the adapters of a run: by validation predictions alone; then the test split is read, once."""

import io
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from icecore.store import IcecoreError, IdentityError, Store, open_store, write_atomic

from .bootstrap import interval
from .bundle import write_bundle
from .candidate import Candidate
from .device import resolve_device
from .run import Kept, Run, open_run
from .selection import Figures, Selected, Selection, TableRow
from .selectors import get_selector
from .settings import SelectSettings
from .target import Labels, Target
from .testsplit import TestPredictions, TestSplit, count_read


def select(run: str, settings: SelectSettings) -> Selection:
    """Choose, measure on the test split, and write RUN/selection.json, RUN/test.parquet and RUN/bundle."""
    opened = open_run(run)
    store = _store_of(opened)
    kept, tensors = opened.kept(), opened.tensors()
    if not kept.candidates:
        raise IcecoreError(f"{run}: no adapter finished its training; see status in results.parquet, lower --lr")
    weights = get_selector(settings.selector)(kept, settings)
    rows = _best_of_each(kept)

    # The choice is made. Only now is the test split read, once; the run keeps count of every choice that did.
    sealed, num_test_reads = TestSplit(store, kept.target), count_read(run, settings.selector)
    asked = [one for one in kept.candidates if one.adapter_id in weights or one.adapter_id in rows]
    test = sealed.open_once(asked, tensors, resolve_device(settings.device))
    selection = Selection(
        selector=settings.selector,
        selected=_selected(kept, weights),
        score_name=kept.target.score_name,
        loss_name=kept.target.loss_name,
        validation=_figures(mix(dict(_by_id(kept)), weights), kept.labels, kept.target, settings),
        test=_figures(mix(test.predictions, weights), test.labels, kept.target, settings)
        if bool(kept.target.known(test.labels).any())
        else None,
        num_test_reads=num_test_reads,
        num_candidates=len(kept.candidates),
        table=tuple(_table_row(kept, adapter_id, test) for adapter_id in rows),
    )
    write_bundle(f"{run}/bundle", opened, store, selection, tensors)
    write_atomic(f"{run}/test.parquet", _test_bytes(test, weights, kept.target))
    write_atomic(f"{run}/selection.json", selection.model_dump_json(indent=2).encode())
    return selection


def mix(
    tables: Mapping[str, Float[Tensor, "row classes"]], weights: Mapping[str, float]
) -> Float[Tensor, "row classes"]:
    """Return the weighted mean of some adapters' predictions."""
    return torch.stack([tables[adapter_id] * weight for adapter_id, weight in weights.items()]).sum(0)


def _store_of(run: Run) -> Store:
    store = open_store(run.facts["store"])
    if store.identity.sha256 != run.facts["identity_sha256"]:
        raise IdentityError(f"{run.path}: was trained from another store than {store.url} is now; train again")
    return store


def _by_id(kept: Kept) -> list[tuple[str, Float[Tensor, "row classes"]]]:
    return [(one.adapter_id, table) for one, table in zip(kept.candidates, kept.predictions, strict=True)]


def _best_of_each(kept: Kept) -> list[str]:
    """Return the best by validation of every family and span of layers, in order of layers."""
    best: dict[tuple[str, tuple[int, ...]], tuple[float, float, str]] = {}
    for candidate, table in zip(kept.candidates, kept.predictions, strict=True):
        scores = kept.target.score(table, kept.labels)
        rank = (-scores.score, scores.loss, candidate.adapter_id)
        key = (candidate.adapter, candidate.layers)
        best[key] = min(best.get(key, rank), rank)
    return [best[key][2] for key in sorted(best, key=lambda key: (key[0], key[1]))]


def _selected(kept: Kept, weights: Mapping[str, float]) -> tuple[Selected, ...]:
    by_id = {one.adapter_id: one for one in kept.candidates}
    ordered = sorted(weights.items(), key=lambda item: -item[1])
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


def _figures(table: Float[Tensor, "row classes"], labels: Labels, target: Target, settings: SelectSettings) -> Figures:
    known = target.known(labels)
    table, labels = table[known], labels[known]
    scores = target.score(table, labels)
    again = lambda rows: target.score(table[rows], labels[rows]).score  # noqa: E731
    low, high = interval(again, len(labels), settings.confidence, settings.num_resamples, settings.seed)
    return Figures(score=scores.score, loss=scores.loss, low=low, high=high, num_rows=len(labels))


def _table_row(kept: Kept, adapter_id: str, test: TestPredictions) -> TableRow:
    place = next(index for index, one in enumerate(kept.candidates) if one.adapter_id == adapter_id)
    candidate, known = kept.candidates[place], kept.target.known(test.labels)
    scores = kept.target.score(kept.predictions[place], kept.labels)
    has_test = bool(known.any())
    return TableRow(
        adapter=candidate.adapter,
        layer=candidate.layer,
        layers=candidate.layers,
        adapter_id=adapter_id,
        config=candidate.config,
        lr=candidate.recipe.lr,
        weight_decay=candidate.recipe.weight_decay,
        validation_score=scores.score,
        validation_loss=scores.loss,
        test_score=kept.target.score(test.predictions[adapter_id][known], test.labels[known]).score
        if has_test
        else None,
    )


def _test_bytes(test: TestPredictions, weights: Mapping[str, float], target: Target) -> bytes:
    """Return test.parquet: a class and its probability a row where the target is a class, else all predictions."""
    table = mix(test.predictions, weights) if len(test.rows) else torch.zeros(0, 1)
    columns: dict[str, pa.Array] = {"row": pa.array(test.rows, pa.int64()), "key": pa.array(test.keys, pa.string())}
    if target.score_name == "top1":
        probability, prediction = table.max(1)
        columns |= {"label": pa.array(test.labels.numpy()), "prediction": pa.array(prediction.numpy())}
        columns["probability"] = pa.array(probability.numpy())
    else:
        columns |= {"label": pa.array(test.labels.tolist()), "prediction": pa.array(table.tolist())}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, write_page_checksum=True)
    return sink.getvalue()
