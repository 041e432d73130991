"""Train in-backbone methods on the rows, splits and target of cached adapters, and write one table of both.

The learning rate of each method is chosen on validation; then the test rows are read, once. Trained candidates are kept
in a ledger, as in a sweep: a killed comparison resumes.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from icecore.store import Store, UsageError, open_store, require_destination, write_atomic
from icecore.train import Run, open_run
from icecore.train.modules import measure_peak
from icecore.train.runs import Candidate, Outcome, document_bytes, load_document, replace_files, results_bytes

from ..finetune.finetune import FinetuneProgress, finetune
from ..finetune.settings import CompareSettings
from ..finetune.study import FinetuneContext, open_study
from ..finetune.subject import open_rows
from ..versions import versions
from .candidates import candidates
from .comparison import COMPARISON_FILE, REMEDY, Comparison, cached_rows
from .standing import standing

PEAKS = "peaks.json"


def compare(
    where: str,
    out: str,
    settings: CompareSettings,
    run: str | None = None,
    progress: Callable[[FinetuneProgress], None] | None = None,
) -> Comparison:
    """Train every method of the settings on the rows of `where`, a store or a source, and write the folder `out`.

    The folder holds comparison.json with the table, results.parquet with every epoch in the columns of a RUN, and for
    every method that merges METHOD.safetensors, a checkpoint for `icecore extract --checkpoint`. `run` is a RUN
    trained on the same rows, whose selection is added to the table. `progress` is called after each epoch.

    Raises:
        UsageError: a wrong method or option, a `run` of other rows or another backbone, or `out` holds something else.
        IcecoreError: training cannot go on; finished candidates are kept.
    """
    candidates(settings, depth=0)  # wrong methods and options are found before anything is read
    require_destination(out, "study")
    cached = None if run is None else open_run(run)
    rows, laid_out = open_rows(where, out, settings), None if cached is None else open_store(cached.facts["store"])
    _require_alike(cached, rows)
    Path(out).mkdir(parents=True, exist_ok=True)
    study = open_study(rows, _as_in(cached, settings), out, laid_out)
    _require_same_rows(cached, study)
    asked = candidates(settings, len(study.loaded.model.blocks))
    outcomes = _train_all(study, asked, settings, out, progress or (lambda _: None))
    found = _comparison(study, asked, outcomes, settings, out, cached)
    results = [result for one in asked for result in outcomes[one.adapter_id].results]
    content = json.loads(found.model_dump_json())
    replace_files(
        Path(out), COMPARISON_FILE, partial(document_bytes, content), {"results.parquet": results_bytes(results)}
    )
    return found


def _comparison(
    study: FinetuneContext,
    asked: Sequence[Candidate],
    outcomes: dict[str, Outcome],
    settings: CompareSettings,
    out: str,
    cached: Run | None,
) -> Comparison:
    """Choose the learning rate of every method on validation, and build the table."""
    peaks = _peaks(Path(out))
    rows = [
        standing(study, [one for one in asked if one.adapter == name], outcomes, peaks, out)
        for name in dict.fromkeys(settings.methods)
    ]
    return Comparison(
        score_name=study.target.score_name,
        backbone=study.store.identity.backbone,
        weights_sha256=study.loaded.weights_sha256,
        source=study.store.spec.source,
        how=study.split.how,
        num_train_rows=len(study.split.train),
        device=str(study.device),
        compute_dtype=study.conditions["compute_dtype"],
        versions=versions(),
        settings=settings.model_dump(mode="json"),
        rows=(*rows, *(cached_rows(cached) if cached is not None else ())),
    )


def _as_in(run: Run | None, settings: CompareSettings) -> CompareSettings:
    """Return settings that split the rows as a run did."""
    shared = {} if run is None else {key: run.facts["settings"][key] for key in ("validation", "shuffle_seed")}
    return settings.model_copy(update=shared)


def _require_alike(run: Run | None, rows: Store) -> None:
    if run is None:
        return
    of_run, of_rows = run.facts["identity"], rows.identity
    if (of_run["dataset_sha256"], of_run["weights_sha256"]) != (of_rows.dataset_sha256, of_rows.weights_sha256):
        raise UsageError(f"{run.path}: is of another data set or backbone than {rows.spec.source}; compare alike")
    if run.facts["settings"].get("folds"):
        raise UsageError(f"{run.path}: was trained with --folds, and compare holds out one part; give a run without")


def _require_same_rows(run: Run | None, study: FinetuneContext) -> None:
    if run is not None and run.facts["validation"]["rows_sha256"] != study.split.rows_sha256:
        raise UsageError(
            f"{run.path}: held out other rows for validation; compare on its own store {run.facts['store']}"
        )


def _train_all(
    study: FinetuneContext,
    asked: Sequence[Candidate],
    settings: CompareSettings,
    out: str,
    progress: Callable[[FinetuneProgress], None],
) -> dict[str, Outcome]:
    """Train the candidates that the ledger lacks; return the outcomes of all by adapter id."""
    ledger, known = study.ledger(f"{out}/training"), _peaks(Path(out))
    total = sum(one.recipe.epochs for one in asked)
    with ledger.held(study.store):
        found = _by_id(ledger.outcomes(asked))
        for candidate in asked:
            if candidate.adapter_id in found:
                continue
            before = sum(len(outcome.results) for outcome in found.values())

            def report(epochs: int, before: int = before, method: str = candidate.adapter) -> None:
                progress(FinetuneProgress(before + epochs, total, method))

            with measure_peak(study.device) as peak:
                outcome = finetune(study, candidate, ledger, settings.checkpoint_seconds, report)
            known[candidate.adapter_id] = peak.num_bytes
            write_atomic(f"{out}/{PEAKS}", document_bytes({"peaks": known}, {}))
            ledger.finish([candidate], outcome)
            found[candidate.adapter_id] = outcome
    return found


def _peaks(out: Path) -> dict[str, int | None]:
    """Return the peak memory in bytes of each trained candidate by adapter id, from an earlier call."""
    try:
        content = load_document(out / PEAKS, f"remove it: {REMEDY}").content
    except FileNotFoundError:
        return {}
    return content.get("peaks", content)


def _by_id(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    return {outcome.results[0].candidate.adapter_id: outcome for outcome in outcomes}
