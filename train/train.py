"""Stage two: every adapter of a sweep, trained from a store; each layer is read once.

What is trained is kept in the RUN's ledger as it comes: a sweep that was killed goes on where it stood, and a larger
one trains only what is new.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

import torch

from .candidate import Candidate
from .checkpoint import num_epochs_of
from .group import OK, EpochResult
from .halving import RUNGS, Halving
from .ledger import Ledger, Outcome
from .peak import measure_peak
from .preparation import prepare
from .progress import Meter, Progress
from .record import record
from .run import Run
from .settings import TrainSettings
from .task import Task, pending, run_task
from .work import Work


def train(store: str, out: str, settings: TrainSettings, progress: Callable[[Progress], None] | None = None) -> Run:
    """Train every candidate of the settings and write the RUN folder `out`; IcecoreError before any work is lost."""
    begin = time.perf_counter()
    candidates, works = prepare(store, settings)
    ledgers = [work.ledger(out) for work in works]
    with ledgers[0].held(works[0].store):
        known = _known(ledgers, candidates)
        first = pending(candidates, known[0], ledgers[0])
        meter = Meter(begin, progress, *_epochs(known, first, settings))

        def train_all(tasks: list[Task]) -> None:
            """Train here or on workers; what comes of it is known then."""
            for task in tasks:
                if task.checkpoint is not None:
                    meter.add(num_epochs_of(task.checkpoint), task.layers)
            if tasks and (settings.workers or settings.scheduler):
                from .distributed import train_on_workers

                train_on_workers(store, out, settings, tasks, meter)
                known[:] = _known(ledgers, candidates)
            elif tasks:
                for task, outcome in zip(tasks, _train_here(works, ledgers, tasks, meter), strict=True):
                    known[task.split].append(outcome)

        with measure_peak(works[0].device) as peak:
            train_all(first)
            staying = [one for one in candidates if any(one.adapter_id in outcome.predictions for outcome in known[0])]
            splits = range(1, len(works))
            train_all([task for split in splits for task in pending(staying, known[split], ledgers[split], split)])
        return record(out, works, candidates, known, time.perf_counter() - begin, peak.num_bytes)


def _known(ledgers: Sequence[Ledger], candidates: Sequence[Candidate]) -> list[list[Outcome]]:
    """Return what is known of each split; the parameters of the last alone, since those of folds are not kept."""
    before = [[replace(one, trained={}) for one in ledger.outcomes(candidates)] for ledger in ledgers[:-1]]
    return [*before, ledgers[-1].outcomes(candidates)]


def _epochs(known: list[list[Outcome]], first: list[Task], settings: TrainSettings) -> tuple[int, int]:
    """Return how many epochs of single adapters are done already, and how many there will have been.

    `first` are the tasks on the first split. Who ends early there is not trained on the others.
    """
    contests = [Halving(task.candidates, RUNGS if settings.halving else ()) for task in first]
    done = [[result for outcome in outcomes for result in outcome.results] for outcomes in known]
    on_first = len(done[0]) + sum(contest.num_epochs for contest in contests)
    lasting = sum(result.epoch for result in done[0] if result.status == OK and result.is_last)
    on_each_other = lasting + sum(contest.num_lasting_epochs for contest in contests)
    return sum(map(len, done)), on_first + (len(known) - 1) * on_each_other


def _train_here(works: list[Work], ledgers: list[Ledger], tasks: list[Task], meter: Meter) -> list[Outcome]:
    """Train one group a thread: a core each costs less than all cores meeting at the end of every small product."""
    num_threads = torch.get_num_threads()
    num_workers = works[0].num_workers
    share = max(1, num_threads // num_workers)

    def run(task: Task) -> Outcome:
        def report(results: Sequence[EpochResult]) -> None:
            meter.add(len(results), task.layers, results if task.split == 0 else ())

        outcome = run_task(works[task.split], task, ledgers[task.split], report, lambda: meter.stopped)
        return outcome if task.split == len(works) - 1 else replace(outcome, trained={})

    with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        futures = [pool.submit(run, task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()  # the first that fails ends the others
            return [future.result() for future in futures]
        except BaseException:
            meter.stopped = True
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(num_threads)
