"""Writes the shards of a store on the workers of a dask cluster: one task a shard; workers return counts alone.

Every worker must reach the source and the store. A task may run twice, because its worker died: it does not write a
shard again that is in the ledger, and a half-written shard leaves no trace.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from icecore.store import (
    IcecoreError,
    IdentityError,
    SchedulerLostError,
    Shard,
    StoreAccess,
    StoreWriter,
    absolute_url,
    connect_cluster,
    open_shard,
    open_store,
    run_tasks,
)

from ..backbone.loading import load_backbone
from ..files.passing import PassingError
from ..rows.images import Images
from ..settings import ExtractSettings
from ..sources import open_source
from .job import Job
from .progress import Meter

RETRIES = 2  # of a task that raised an exception; dask limits the retries of tasks whose worker died


def write_on_workers(writer: StoreWriter, source: str, settings: ExtractSettings, meter: Meter) -> None:
    """Write every unfinished shard on some worker; return when all are in the ledger.

    Raises:
        PassingError: the scheduler ended. Finished shards are kept.
        IcecoreError: a worker failed, or there are none.
    """
    if not writer.todo:
        return
    deepest = max(layer for shard in writer.todo for layer in shard.layers)
    worker_settings = settings.model_copy(
        update={"checkpoint": settings.checkpoint and absolute_url(settings.checkpoint)}
    )
    url, token = absolute_url(writer.access.url), writer.access.token
    common = _absolute_source(source), url, token, worker_settings.model_dump_json(), deepest
    tasks = {shard: (*common, shard.index, shard.retried) for shard in writer.todo}
    with connect_cluster(settings.scheduler, settings.workers) as client:
        try:
            run_tasks(client, write_shard, tasks, lambda _, counts: meter.add(*counts), killed=_killed, retries=RETRIES)
        except SchedulerLostError as error:
            raise PassingError(str(error)) from error


def _killed(shard: Shard) -> str:
    return (
        f"rows {shard.start} to {shard.stop - 1}: every worker that had them died; give workers more memory, or lower "
        "--batch-size"
    )


def write_shard(
    source: str, url: str, token: str, settings: str, deepest: int, shard: int, retried: Sequence[int]
) -> tuple[float, int]:
    """Write one shard unless the ledger has it; runs on a worker.

    Args:
        source: as given to `extract`.
        url: of the store.
        token: of the run that may write to the store.
        settings: an `ExtractSettings` as JSON.
        deepest: the deepest layer that any task of this run writes; the worker drops the blocks after it.
        shard: its index.
        retried: the failed rows to try again.

    Returns:
        the number of rows written (a row of V views counts 1/V for each view), and the number of failed rows.
    """
    counted: list[tuple[float, int]] = []
    with open_shard(StoreAccess(url, token), shard, retried) as writer:
        job = _job(source, url, token, settings, deepest)
        job.write(writer, writer.todo, lambda *batch: counted.append(batch))
    return float(sum(rows for rows, _ in counted)), sum(failed for _, failed in counted)


@functools.lru_cache(maxsize=1)
def _job(source: str, url: str, token: str, worker_settings: str, deepest: int) -> Job:
    """Open the source and load the backbone once a process and run; `token` differs from run to run."""
    settings, store = ExtractSettings.model_validate_json(worker_settings), open_store(url)
    opened = open_source(source, settings.columns)
    source_rows = {sample.key: row for row, sample in enumerate(opened.samples)}
    keys = store.samples["key"].to_pylist()
    lacking = [key for key in keys if key not in source_rows]
    if lacking:
        raise IcecoreError(f"{source}: lacks {lacking[0]!r} on this worker; expected it where every worker can read it")
    identity = store.identity
    backbone = load_backbone(
        settings.backbone, settings.checkpoint, settings.device, identity.compute_dtype, identity.preprocessing
    )
    if (backbone.weights_sha256, backbone.preprocessing) != (identity.weights_sha256, identity.preprocessing):
        raise IdentityError(f"{settings.backbone}: has other weights on this worker; pass the same --checkpoint FILE")
    backbone.cut(deepest)
    images = Images(opened, [source_rows[key] for key in keys], store.as_samples(), backbone.transform)
    return Job(images, backbone, settings, num_cores=1)


def _absolute_source(source: str) -> str:
    """Return `KIND:PATH` with an absolute path; a source without a path as it is."""
    kind, colon, path = source.partition(":")
    if Path(source).exists():
        return absolute_url(source)
    return f"{kind}{colon}{absolute_url(path)}" if Path(path).exists() else source
