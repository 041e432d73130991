"""Training the tasks of a sweep on the workers of a dask cluster; results come back through the ledger of the RUN.

Every worker must reach the store and the RUN. If a worker dies, dask runs its task again on another worker: the task
goes on from the last checkpoint, and finished adapters are not trained again.
"""

import socket
from typing import Any

import torch

from icecore.store import IcecoreError, absolute_url, connect_cluster, layer_name, run_tasks

from ..runs.candidate import Candidate
from ..settings import TrainSettings
from .parts import parted
from .preparation import works_of
from .progress import Meter
from .task import SplitContext, Task, pending, run_task


def train_on_workers(store: str, out: str, works: list[SplitContext], tasks: list[Task], meter: Meter) -> None:
    """Train every task on some worker; return when all are in the ledger.

    Raises:
        IcecoreError: a worker failed, there are none, or the scheduler ended. What is in the ledger is kept.
    """
    settings = works[0].settings
    settled = {"extend": settings.extend and absolute_url(settings.extend), "compute_dtype": works[0].compute_dtype}
    given = settings.model_copy(update=settled).model_dump(mode="json")
    arguments = {
        number: (
            absolute_url(store),
            absolute_url(out),
            given,
            task.split,
            [candidate.model_dump(mode="json") for candidate in task.candidates],
            works[task.split].ledger(out).conditions,
        )
        for number, task in enumerate(tasks)
    }

    def done(number: int, num_epochs: int) -> None:
        meter.add(num_epochs, tasks[number].layers)

    def killed(number: int) -> str:
        layers = ", ".join(map(layer_name, tasks[number].layers))
        return f"layers {layers}: every worker that trained them died; give workers more memory, or lower --memory"

    with connect_cluster(settings.scheduler, settings.workers) as client:
        run_tasks(client, train_group, arguments, done, killed=killed)


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
