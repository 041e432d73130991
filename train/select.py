"""Choosing among the adapters of a run: by validation predictions alone; then the test split is read, once."""

import io
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
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
from .target import score
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
    sealed, num_test_reads = TestSplit(store), count_read(run, settings.selector)
    asked = [one for one in kept.candidates if one.adapter_id in weights or one.adapter_id in rows]
    test = sealed.open_once(asked, tensors, resolve_device(settings.device))
    selection = Selection(
        selector=settings.selector,
        selected=_selected(kept, weights),
        validation=_figures(mix(dict(_by_id(kept)), weights), kept.labels, settings),
        test=_figures(mix(test.probabilities, weights), test.labels, settings)
        if bool((test.labels >= 0).any())
        else None,
        num_test_reads=num_test_reads,
        num_candidates=len(kept.candidates),
        table=tuple(_table_row(kept, adapter_id, test) for adapter_id in rows),
    )
    write_bundle(f"{run}/bundle", opened, store, selection, tensors)
    write_atomic(f"{run}/test.parquet", _test_bytes(test, weights))
    write_atomic(f"{run}/selection.json", selection.model_dump_json(indent=2).encode())
    return selection


def mix(
    tables: Mapping[str, Float[Tensor, "row classes"]], weights: Mapping[str, float]
) -> Float[Tensor, "row classes"]:
    """Return the weighted mean of some adapters' probabilities."""
    return torch.stack([tables[adapter_id] * weight for adapter_id, weight in weights.items()]).sum(0)


def _store_of(run: Run) -> Store:
    store = open_store(run.facts["store"])
    if store.identity.sha256 != run.facts["identity_sha256"]:
        raise IdentityError(f"{run.path}: was trained from another store than {store.url} is now; train again")
    return store


def _by_id(kept: Kept) -> list[tuple[str, Float[Tensor, "row classes"]]]:
    return [(one.adapter_id, table) for one, table in zip(kept.candidates, kept.probabilities, strict=True)]


def _best_of_each(kept: Kept) -> list[str]:
    """Return the best by validation of every family and span of layers, in order of layers."""
    best: dict[tuple[str, tuple[int, ...]], tuple[float, float, str]] = {}
    for candidate, table in zip(kept.candidates, kept.probabilities, strict=True):
        scores = score(table, kept.labels)
        rank = (-scores.top1, scores.mean_nll, candidate.adapter_id)
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


def _figures(table: Float[Tensor, "row classes"], labels: Int64[Tensor, " row"], settings: SelectSettings) -> Figures:
    known = labels >= 0
    scores = score(table[known], labels[known])
    low, high = interval(scores.correct, settings.confidence, settings.num_resamples, settings.seed)
    return Figures(top1=scores.top1, nll=scores.mean_nll, low=low, high=high, num_rows=int(known.sum()))


def _table_row(kept: Kept, adapter_id: str, test: TestPredictions) -> TableRow:
    place = next(index for index, one in enumerate(kept.candidates) if one.adapter_id == adapter_id)
    candidate, known = kept.candidates[place], test.labels >= 0
    scores = score(kept.probabilities[place], kept.labels)
    has_test = bool(known.any())
    return TableRow(
        adapter=candidate.adapter,
        layer=candidate.layer,
        layers=candidate.layers,
        adapter_id=adapter_id,
        config=candidate.config,
        lr=candidate.recipe.lr,
        weight_decay=candidate.recipe.weight_decay,
        validation_top1=scores.top1,
        validation_nll=scores.mean_nll,
        test_top1=score(test.probabilities[adapter_id][known], test.labels[known]).top1 if has_test else None,
    )


def _test_bytes(test: TestPredictions, weights: Mapping[str, float]) -> bytes:
    schema = pa.schema(
        [
            ("row", pa.int64()),
            ("key", pa.string()),
            ("label", pa.int64()),
            ("prediction", pa.int64()),
            ("probability", pa.float32()),
        ]
    )
    columns: Sequence[object] = [[], [], [], [], []]
    if len(test.rows):
        probability, prediction = mix(test.probabilities, weights).max(1)
        columns = [test.rows, test.keys, test.labels.numpy(), prediction.numpy(), probability.numpy()]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, write_page_checksum=True)
    return sink.getvalue()
