"""The stage `extract`: prepares an extraction, and writes every shard that the store lacks."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from icecore.store import (
    IcecoreError,
    SourceReport,
    StoreWriter,
    open_store,
    open_writer,
    require_destination,
    require_room,
)

from .files.passing import PassingError, in_words, is_passing
from .job.job import Job
from .job.progress import Progress
from .job.report import ExtractReport
from .preparation import prepare
from .settings import ExtractSettings, command_line


class ExtractInterruptedError(IcecoreError):
    """The user interrupted an extraction; finished shards are kept."""

    exit_code = 130


def extract(
    source: str,
    store: str,
    settings: ExtractSettings,
    progress: Callable[[Progress], None] | None = None,
    on_source: Callable[[SourceReport], None] | None = None,
) -> ExtractReport:
    """Write the tokens of all images of `source` to `store`; shards that the store has already are skipped.

    Args:
        source: `KIND:PATH`, or a path whose kind is plain from its content.
        store: path or URL of the store.
        settings: backbone, layers, tokens, codec and so on. With `settings.strict` a row that cannot be decoded stops
            the extraction; without it the row is recorded as failed.
        progress: called after each batch.
        on_source: called once with the counts of the source, before the first forward pass.

    Raises:
        UsageError: a setting, the source or the backbone is wrong; nothing was written.
        IdentityError: the store was made by another backbone, data set or layout.
        PassingError: the system failed (memory, a file server, the scheduler); the same call resumes.
        ExtractInterruptedError: the user pressed Ctrl-C; the same call resumes.
        IcecoreError: anything else, in one line; finished shards are kept.
    """
    require_destination(store, "store")
    started = time.monotonic()
    with _with_resume_command(store, command_line(source, store, settings)):
        ready = prepare(source, store, settings)
    if on_source is not None:
        on_source(ready.report)
    settled = settings.model_copy(update={"compute_dtype": ready.spec.identity.compute_dtype})
    retried: list[int] = []

    def retry(failed: Sequence[int], order: Sequence[int]) -> list[int]:
        retried.extend(failed)
        return ready.job.good(failed, order)

    with _with_resume_command(store, command_line(source, store, settled)):
        require_room(store, ready.size)
        retry_rows = retry if settings.retry_failed else None
        with open_writer(store, ready.spec, ready.samples, ready.frozen, ready.job.measure, retry_rows) as writer:
            done = _write(ready.job, writer, source, settings, progress or (lambda _: None))
        written = open_store(store)
    return ExtractReport(
        store=store,
        num_rows=written.num_rows,
        num_skipped=done.num_skipped,
        num_failed=len(written.failed),
        failures=written.failures,
        num_retried=len(retried),
        num_mended=len({*retried} - {*written.failed}),
        num_bytes=written.num_bytes(),
        elapsed_seconds=time.monotonic() - started,
        rows_per_second=done.rows_per_second,
        source=ready.report,
    )


@contextlib.contextmanager
def _with_resume_command(store: str, command: str) -> Iterator[None]:
    """Turn Ctrl-C and failures of the system into an error of one line that names the command to resume."""
    advice = f"finished shards are kept, go on with: {command}"
    try:
        yield
    except KeyboardInterrupt:
        raise ExtractInterruptedError(f"{store}: interrupted; {advice}") from None
    except PassingError as error:
        raise PassingError(f"{error}; {advice}") from error
    except (OSError, MemoryError, RuntimeError) as error:
        if not is_passing(error):
            raise
        advice_memory = "" if isinstance(error, OSError) else "; free memory, or lower --batch-size or --num-threads"
        raise PassingError(f"{store}: stopped ({in_words(error)}){advice_memory}; {advice}") from error


def _write(
    job: Job, writer: StoreWriter, source: str, settings: ExtractSettings, report: Callable[[Progress], None]
) -> Progress:
    """Write the shards that the store lacks, in this process or on workers."""
    if settings.workers is None and settings.scheduler is None:
        return job.run(writer, report)
    from .job.distributed import write_on_workers  # dask takes a second to import

    meter = job.meter(writer, report)
    write_on_workers(writer, source, settings, meter)
    return meter.progress
