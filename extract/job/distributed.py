"""The shards of a store on the workers of a dask cluster: a task a shard, and nothing but counts comes back.

Source and store must be where every worker can reach them. A task may run twice, after its worker died: a shard that is
in the ledger is not written again, and one that is not leaves no trace.
"""

import contextlib
import functools
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from logging import CRITICAL, getLogger
from pathlib import Path

from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, as_completed
from distributed.comm.core import CommClosedError

from icecore.store import (
    IcecoreError,
    IdentityError,
    Shard,
    StoreAccess,
    StoreWriter,
    UsageError,
    open_shard,
    open_store,
)

from ..backbone.loading import load_backbone
from ..files.passing import PassingError, in_words
from ..rows.images import Images
from ..settings import ExtractSettings
from ..sources import open_source
from .job import Job
from .progress import Meter

CONNECT_SECONDS = 10
POLL_SECONDS = 0.05
WORKERLESS_SECONDS = 60.0  # how long nobody may be there before that is an error
RETRIES = 2  # of a task that raised; one whose worker died has dask's own limit


def write_on_workers(writer: StoreWriter, source: str, settings: ExtractSettings, meter: Meter) -> None:
    """Write every shard that lacks something on some worker; returns when all are in the ledger."""
    if not writer.todo:
        return
    deepest = max(layer for shard in writer.todo for layer in shard.layers)
    given = settings.model_copy(update={"checkpoint": settings.checkpoint and _everywhere(settings.checkpoint)})
    url, token = _everywhere(writer.access.url), writer.access.token
    common = _source_everywhere(source), url, token, given.model_dump_json(), deepest
    with _cluster(settings) as client:
        futures: dict[Future, Shard] = {
            client.submit(write_shard, *common, shard.index, shard.retried, pure=False, retries=RETRIES): shard
            for shard in writer.todo
        }
        try:
            for future in _as_they_end(client, futures):
                meter.add(*_result(future, futures[future]))
        except (CommClosedError, CancelledError) as error:  # with it went all that it knew of our tasks
            raise PassingError(f"scheduler {settings.scheduler!r}: is gone ({in_words(error)})") from error
        except BaseException:
            client.cancel(list(futures), force=True)
            raise


def write_shard(
    source: str, url: str, token: str, settings: str, deepest: int, shard: int, retried: Sequence[int]
) -> tuple[float, int]:
    """Write one shard unless it is there; return its rows and how many of them failed. Runs on a worker."""
    counted: list[tuple[float, int]] = []
    with open_shard(StoreAccess(url, token), shard, retried) as writer:
        job = _job(source, url, token, settings, deepest)
        job.write(writer, writer.todo, lambda *batch: counted.append(batch))
    return float(sum(rows for rows, _ in counted)), sum(failed for _, failed in counted)


@functools.lru_cache(maxsize=1)
def _job(source: str, url: str, token: str, given: str, deepest: int) -> Job:
    """Open the source and load the backbone, once a process; the token tells one run from the next."""
    settings, store = ExtractSettings.model_validate_json(given), open_store(url)
    opened = open_source(source, settings.columns)
    place = {sample.key: place for place, sample in enumerate(opened.samples)}
    keys = store.samples["key"].to_pylist()
    lacking = [key for key in keys if key not in place]
    if lacking:
        raise IcecoreError(f"{source}: lacks {lacking[0]!r} on this worker; expected it where every worker can read it")
    identity = store.identity
    backbone = load_backbone(
        settings.backbone, settings.checkpoint, settings.device, identity.compute_dtype, identity.preprocessing
    )
    if (backbone.weights_sha256, backbone.preprocessing) != (identity.weights_sha256, identity.preprocessing):
        raise IdentityError(f"{settings.backbone}: has other weights on this worker; pass the same --checkpoint FILE")
    backbone.cut(deepest)
    places = [place[key] for key in keys]
    images = Images(opened, places, store.as_samples(), backbone.transform)
    return Job(images, backbone, settings, num_cores=1)


class _DeafToInterrupts(WorkerPlugin):
    """Leaves Ctrl-C, which a terminal sends to every process, to the one that started the workers."""

    def setup(self, worker: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _cluster(settings: ExtractSettings) -> Iterator[Client]:
    """Use the cluster at an address, or start one of this machine's processes."""
    if settings.scheduler is None:
        local = LocalCluster(
            n_workers=settings.workers,
            processes=True,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=CRITICAL,
        )
        with local, Client(local) as client:
            client.register_plugin(_DeafToInterrupts())
            yield client
        return
    for name in ("distributed", "distributed.client"):  # what happens to a cluster is said here, in one line
        getLogger(name).setLevel(CRITICAL)
    try:
        client = Client(settings.scheduler, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"scheduler {settings.scheduler!r}: {reason}; expected the address of a dask scheduler"
        ) from None
    with client:
        _require_workers(client)
        yield client


def _as_they_end(client: Client, futures: Iterable[Future]) -> Iterator[Future]:
    """Yield futures as they end; IcecoreError once nobody has been there for a while to end one."""
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
                f"no worker for {WORKERLESS_SECONDS:.0f} s; finished shards are kept: start workers, and this command "
                "again"
            )


def _require_workers(client: Client) -> None:
    if not client.nthreads():
        address = client.scheduler.address  # pyright: ignore[reportOptionalMemberAccess]
        raise IcecoreError(f"scheduler {address!r}: has no workers; start some with: dask worker {address}")


def _result(future: Future, shard: Shard) -> tuple[float, int]:
    try:
        num_rows, num_failed = future.result()  # pyright: ignore[reportGeneralTypeIssues]
    except KilledWorker:
        raise IcecoreError(
            f"rows {shard.start} to {shard.stop - 1}: every worker that had them died; give workers more memory, or "
            "lower --batch-size"
        ) from None
    return num_rows, num_failed


def _everywhere(url: str) -> str:
    return url if "://" in url else str(Path(url).resolve())


def _source_everywhere(source: str) -> str:
    """Return a source whose path, if it has one, does not depend on the folder of a process."""
    kind, colon, path = source.partition(":")
    if Path(source).exists():
        return _everywhere(source)
    return f"{kind}{colon}{_everywhere(path)}" if Path(path).exists() else source
