"""The stage: make ready, and write every shard that the store does not have yet."""

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
    """The user stopped a job; what is finished is kept."""

    exit_code = 130


def extract(
    source: str,
    store: str,
    settings: ExtractSettings,
    progress: Callable[[Progress], None] | None = None,
    found: Callable[[SourceReport], None] | None = None,
) -> ExtractReport:
    """Write the tokens of all images of `source` to `store`, or what is missing of them, and say what was done.

    Rows that cannot be decoded are recorded as failed, unless `settings.strict`. `found` is called once, before the
    first forward pass, with what the source holds; `progress` is called after each batch.

    Raises:
        IcecoreError: one line that says what is wrong; shards finished until then are kept, and the same call resumes.
    """
    require_destination(store, "store")
    started = time.monotonic()
    with _saying_how_to_go_on(store, command_line(source, store, settings)):
        ready = prepare(source, store, settings)
    if found is not None:
        found(ready.report)
    settled = settings.model_copy(update={"compute_dtype": ready.spec.identity.compute_dtype})
    tried: list[int] = []

    def retry(failed: Sequence[int], order: Sequence[int]) -> list[int]:
        tried.extend(failed)
        return ready.job.good(failed, order)

    with _saying_how_to_go_on(store, command_line(source, store, settled)):
        require_room(store, ready.size)
        again = retry if settings.retry_failed else None
        with open_writer(store, ready.spec, ready.samples, ready.frozen, ready.job.measure, again) as writer:
            done = _write(ready.job, writer, source, settings, progress or (lambda _: None))
        written = open_store(store)
    return ExtractReport(
        store=store,
        num_rows=written.num_rows,
        num_skipped=done.num_skipped,
        num_failed=len(written.failed),
        failures=written.failures,
        num_retried=len(tried),
        num_mended=len({*tried} - {*written.failed}),
        num_bytes=written.num_bytes(),
        elapsed_seconds=time.monotonic() - started,
        rows_per_second=done.rows_per_second,
        source=ready.report,
    )


@contextlib.contextmanager
def _saying_how_to_go_on(store: str, command: str) -> Iterator[None]:
    """Turn what ends a job for a passing reason, the user's Ctrl-C among it, into a line with the command to go on."""
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
        less = "" if isinstance(error, OSError) else "; free memory, or lower --batch-size or --num-threads"
        raise PassingError(f"{store}: stopped ({in_words(error)}){less}; {advice}") from error


def _write(
    job: Job, writer: StoreWriter, source: str, settings: ExtractSettings, report: Callable[[Progress], None]
) -> Progress:
    """Write what the store lacks, in this process or on workers."""
    if settings.workers is None and settings.scheduler is None:
        return job.run(writer, report)
    from .job.distributed import write_on_workers  # dask takes a second to import

    meter = job.meter(writer, report)
    write_on_workers(writer, source, settings, meter)
    return meter.progress
