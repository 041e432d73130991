"""Stage two: train every adapter of a sweep from a store; each layer is read once.

The RUN's ledger keeps every finished adapter and the checkpoints of the others. A sweep that was killed resumes from
them, and a larger sweep trains only the new adapters.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

import torch

from icecore.store import IcecoreError, UsageError, layer_name, require_destination

from .modules.device import measure_peak
from .runs.candidate import Candidate
from .runs.ledger import Ledger, Outcome, begun_in
from .runs.result import STATUS_OK, EpochResult
from .runs.run import Run
from .settings import TrainSettings
from .sweep.checkpoint import num_epochs_of
from .sweep.halving import RUNGS, Halving
from .sweep.parts import parted
from .sweep.preparation import prepare
from .sweep.progress import Meter, Progress
from .sweep.record import record
from .sweep.task import SplitContext, Task, pending, run_task


def train(store: str, out: str, settings: TrainSettings, progress: Callable[[Progress], None] | None = None) -> Run:
    """Train every candidate of the settings, write the RUN folder `out`, and return the run.

    If RUN was begun before, `compute_dtype` "auto" is the type it was begun with, on whichever device it continues.

    Raises:
        UsageError: `out` is a URL, or is not a folder for a run.
        IcecoreError: trained adapters are missing from the ledger, or a worker failed; the ledger keeps the rest.
    """
    if "://" in out:
        raise UsageError(f"{out}: is a URL, expected the path of a folder for the RUN; the STORE alone may be a URL")
    require_destination(out, "run")
    begin = time.perf_counter()
    candidates, works = prepare(store, _settled(settings, out))
    ledgers = [work.ledger(out) for work in works]
    with ledgers[0].held(works[0].store):
        known = _known(ledgers, candidates)
        first = parted(works[0], pending(candidates, known[0], ledgers[0]))
        meter = Meter(begin, progress, *_epochs(known, first, settings))

        def train_all(tasks: list[Task]) -> None:
            """Train tasks in this process or on workers, and add their outcomes to `known`."""
            for task in tasks:
                if task.checkpoint is not None:
                    meter.add(num_epochs_of(task.checkpoint), task.layers)
            if tasks and (settings.workers or settings.scheduler):
                from .sweep.distributed import train_on_workers

                train_on_workers(store, out, works, tasks, meter)
                known[:] = _known(ledgers, candidates)
            elif tasks:
                for task, outcome in zip(tasks, _train_here(works, ledgers, tasks, meter), strict=True):
                    known[task.split].append(outcome)

        with measure_peak(works[0].device) as peak:
            train_all(first)
            _require_outcomes(candidates, known[0], out)
            staying = [one for one in candidates if any(one.adapter_id in outcome.predictions for outcome in known[0])]
            splits = range(1, len(works))
            left = [parted(works[split], pending(staying, known[split], ledgers[split], split)) for split in splits]
            train_all([task for tasks in left for task in tasks])
            for split in splits:
                _require_outcomes(staying, known[split], out)
        elapsed_seconds, growth = time.perf_counter() - begin, ledgers[0].growth
        return record(out, settings, works, candidates, known, growth, elapsed_seconds, peak.num_bytes)


def _settled(settings: TrainSettings, out: str) -> TrainSettings:
    """Return the settings; the compute type "auto" becomes the type that the RUN was begun with."""
    begun = begun_in(out) if settings.compute_dtype == "auto" else None
    return settings if begun is None else settings.model_copy(update={"compute_dtype": begun})


def _require_outcomes(candidates: Sequence[Candidate], known: Sequence[Outcome], out: str) -> None:
    """Raise IcecoreError if a candidate has no result in any outcome."""
    ended = {result.candidate.adapter_id for outcome in known for result in outcome.results}
    if lost := [one for one in candidates if one.adapter_id not in ended]:
        raise IcecoreError(
            f"{out}: {len(lost)} of {len(candidates)} adapters were trained and are not in its ledger (the first is "
            f"{lost[0].adapter} at layer {layer_name(lost[0].layer)}); expected every worker to write to this folder: "
            "put RUN where all of them reach it, and run the same command again"
        )


def _known(ledgers: Sequence[Ledger], candidates: Sequence[Candidate]) -> list[list[Outcome]]:
    """Return the recorded outcomes of each split; parameters only for the last split, since folds keep none."""
    before = [[replace(one, trained={}) for one in ledger.outcomes(candidates)] for ledger in ledgers[:-1]]
    return [*before, ledgers[-1].outcomes(candidates)]


def _epochs(known: list[list[Outcome]], first: list[Task], settings: TrainSettings) -> tuple[int, int]:
    """Return the number of epochs done before and the number expected in all, both summed over adapters and splits.

    `first` are the tasks on the first split. The other splits skip the adapters that end early there.
    """
    contests = [Halving(task.candidates, RUNGS if settings.halving else ()) for task in first]
    done = [[result for outcome in outcomes for result in outcome.results] for outcomes in known]
    on_first = len(done[0]) + sum(contest.num_epochs for contest in contests)
    lasting = sum(result.epoch for result in done[0] if result.status == STATUS_OK and result.is_last)
    on_each_other = lasting + sum(contest.num_lasting_epochs for contest in contests)
    return sum(map(len, done)), on_first + (len(known) - 1) * on_each_other


def _train_here(works: list[SplitContext], ledgers: list[Ledger], tasks: list[Task], meter: Meter) -> list[Outcome]:
    """Train one task per thread: products are so small that synchronising all cores after each would cost more."""
    num_threads = torch.get_num_threads()
    num_workers = works[0].num_workers
    share = max(1, num_threads // num_workers)

    def run(task: Task) -> Outcome:
        def report(results: Sequence[EpochResult]) -> None:
            meter.add(len(results), task.layers, results if task.split == 0 else ())

        outcome = run_task(works[task.split], task, ledgers[task.split], report, lambda: meter.stopped)
        return outcome if task.split == len(works) - 1 else replace(outcome, trained={})

    with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(share,)) as executor:
        futures = [executor.submit(run, task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()  # raises the first failure, which stops the other tasks
            return [future.result() for future in futures]
        except BaseException:
            meter.stopped = True
            executor.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(num_threads)
