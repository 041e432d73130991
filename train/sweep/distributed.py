"""Training the tasks of a sweep on the workers of a dask cluster; results come back through the ledger of the RUN.

Every worker must reach the store and the RUN. If a worker dies, dask runs its task again on another worker: the task
goes on from the last checkpoint, and finished adapters are not trained again.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed

from icecore.store import IcecoreError, UsageError

from ..runs.candidate import Candidate
from ..settings import TrainSettings
from .parts import parted
from .preparation import works_of
from .progress import Meter
from .task import SplitContext, Task, pending, run_task

CONNECT_SECONDS = 10


def train_on_workers(store: str, out: str, works: list[SplitContext], tasks: list[Task], meter: Meter) -> None:
    """Train every task on a worker; return when all outcomes are in the ledger."""
    settings = works[0].settings
    settled = {"extend": settings.extend and _everywhere(settings.extend), "compute_dtype": works[0].compute_dtype}
    given = settings.model_copy(update=settled).model_dump(mode="json")
    with _cluster(settings) as client:
        futures: dict[Future, Task] = {}
        for task in tasks:
            future = client.submit(
                train_group,
                store=_everywhere(store),
                out=_everywhere(out),
                settings=given,
                split=task.split,
                asked=[candidate.model_dump(mode="json") for candidate in task.candidates],
                conditions=works[task.split].ledger(out).conditions,
                pure=False,
            )
            futures[future] = task
        try:
            for future in as_completed(futures):
                meter.add(_result(future, futures[future]), futures[future].layers)
        except BaseException:
            client.cancel(list(futures))
            raise


def train_group(
    store: str,
    out: str,
    settings: dict[str, Any],
    split: int,
    asked: list[dict[str, Any]],
    conditions: dict[str, Any],
) -> int:
    """Train the candidates `asked` that are not in the ledger yet, on one thread of a worker.

    `conditions` are the conditions of the sweep on the driving process. Return the number of epochs trained, summed
    over the adapters.

    Raises:
        IcecoreError: the conditions on this worker differ, because its store is another.
    """
    torch.set_num_threads(1)
    candidates = [Candidate.model_validate(candidate) for candidate in asked]
    work = works_of(store, TrainSettings.model_validate(settings))[split]
    ledger = work.ledger(out)
    if differing := [key for key, value in conditions.items() if ledger.conditions.get(key) != value]:
        raise IcecoreError(
            f"{store}: differs between the worker {socket.gethostname()} and the process that started the sweep "
            f"({', '.join(differing)}); give every worker the same store"
        )
    counts: list[int] = []
    for task in parted(work, pending(candidates, ledger.outcomes(candidates), ledger, split)):
        run_task(work, task, ledger, lambda results: counts.append(len(results)), lambda: False)
    return sum(counts)


@contextlib.contextmanager
def _cluster(settings: TrainSettings) -> Iterator[Client]:
    """Connect to the cluster at `settings.scheduler`, or start one with processes of this machine."""
    if settings.scheduler is None:
        local = LocalCluster(n_workers=settings.workers, processes=True, threads_per_worker=1, dashboard_address=":0")  # pyright: ignore
        with local, Client(local) as client:
            yield client
        return
    try:
        client = Client(settings.scheduler, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"scheduler {settings.scheduler!r}: {reason}; expected the address of a dask scheduler"
        ) from None
    with client:
        if not client.scheduler_info()["workers"]:
            raise IcecoreError(f"scheduler {settings.scheduler!r}: has no workers; start some with dask worker")
        yield client


def _result(future: Future, task: Task) -> int:
    try:
        return int(future.result())
    except KilledWorker:
        layers = ", ".join(map(str, task.layers))
        raise IcecoreError(
            f"layers {layers}: every worker that trained them died; give workers more memory, or lower --memory"
        ) from None


def _everywhere(url: str) -> str:
    return url if "://" in url else str(Path(url).resolve())
