"""Tasks on the workers of a dask cluster, for the stages that spread their work over processes or machines."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from logging import CRITICAL, getLogger
from pathlib import Path
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, as_completed
from distributed.comm.core import CommClosedError

from .errors import IcecoreError, UsageError

T = TypeVar("T")

CONNECT_SECONDS = 10
POLL_SECONDS = 0.05
WORKERLESS_SECONDS = 60.0  # how long a cluster may be without workers before that is an error


class SchedulerLostError(IcecoreError):
    """The scheduler ended, or the connection to it, while tasks were running."""


class _IgnoreInterrupts(WorkerPlugin):
    """Makes a worker ignore Ctrl-C: a terminal sends it to every process, and the main process alone handles it."""

    def setup(self, worker: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def connect_cluster(scheduler: str | None, num_workers: int | None) -> Iterator[Client]:
    """Yield a client of the cluster at an address, or of `num_workers` new processes that end with the context.

    Raises:
        UsageError: no dask scheduler answers at the address.
        IcecoreError: the cluster has no workers.
    """
    if scheduler is None:
        local = LocalCluster(
            n_workers=num_workers,
            processes=True,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=CRITICAL,
        )
        with local, Client(local) as client:
            client.register_plugin(_IgnoreInterrupts())
            yield client
        return
    for name in ("distributed", "distributed.client"):  # errors of the cluster become one line of ours
        getLogger(name).setLevel(CRITICAL)
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"scheduler {scheduler!r}: {reason}; expected the address of a dask scheduler") from None
    with client:
        _require_workers(client)
        yield client


def run_tasks(
    client: Client,
    function: Callable[..., Any],
    tasks: Mapping[T, tuple[Any, ...]],
    done: Callable[[T, Any], None],
    *,
    killed: Callable[[T], str],
    retries: int = 0,
) -> None:
    """Run `function(*arguments)` for every task on some worker, and call `done(task, result)` as each one ends.

    A task whose worker died runs again on another worker, so `function` must leave the same result when run twice.

    Args:
        client: from `connect_cluster`.
        function: importable on every worker.
        tasks: the arguments of each task.
        done: called in this thread.
        killed: gives the error message for a task that killed every worker that ran it.
        retries: how often a task that raised an exception runs again.

    Raises:
        SchedulerLostError: the scheduler ended.
        IcecoreError: a task killed its workers, or there was no worker for a minute. Exceptions of `function` are
            raised as they are. All other tasks are cancelled in every case.
    """
    address = getattr(client.scheduler, "address", None)  # a client that lost its scheduler has none
    futures: dict[Future, T] = {
        client.submit(function, *arguments, pure=False, retries=retries): task for task, arguments in tasks.items()
    }
    try:
        for future in _as_they_end(client, futures):
            done(futures[future], _result(future, futures[future], killed))
    except (CommClosedError, CancelledError) as error:  # a lost scheduler forgets all tasks, so none can be cancelled
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SchedulerLostError(f"scheduler {address!r}: is gone ({reason})") from error
    except BaseException:
        client.cancel(list(futures), force=True)
        raise


def absolute_url(url: str) -> str:
    """Return a path or URL that means the same in every working directory.

    >>> absolute_url("s3://bucket/store.ice")
    's3://bucket/store.ice'
    """
    return url if "://" in url else str(Path(url).resolve())


def _as_they_end(client: Client, futures: Iterable[Future]) -> Iterator[Future]:
    """Yield futures as they end; IcecoreError once the cluster has had no worker for `WORKERLESS_SECONDS`."""
    running, seen = as_completed(futures), time.monotonic()
    while not running.is_empty():
        if running.has_ready():
            yield next(running)
            continue
        time.sleep(POLL_SECONDS)
        if time.monotonic() - seen > WORKERLESS_SECONDS / 4 and client.nthreads():
            seen = time.monotonic()
        if time.monotonic() - seen > WORKERLESS_SECONDS:
            raise IcecoreError(
                f"no worker for {WORKERLESS_SECONDS:.0f} s; finished work is kept: start workers, then run the same "
                "command again"
            )


def _require_workers(client: Client) -> None:
    if not client.nthreads():
        address = client.scheduler.address  # pyright: ignore[reportOptionalMemberAccess]
        raise IcecoreError(f"scheduler {address!r}: has no workers; start some with: dask worker {address}")


def _result(future: Future, task: T, killed: Callable[[T], str]) -> Any:
    try:
        return future.result()
    except KilledWorker:
        raise IcecoreError(killed(task)) from None
