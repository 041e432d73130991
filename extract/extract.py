"""The stage: open the source, load the backbone, and write every shard that the store does not have yet."""

import time
from collections.abc import Callable

from icecore.store import IcecoreError, open_store, open_writer
from icecore.store.codecs import get_codec

from .backbone_loading import load_backbone
from .description import describe
from .images import Images
from .job import Job
from .progress import Progress
from .report import ExtractReport
from .scan import scan
from .settings import ExtractSettings
from .sources import open_source


class ExtractInterruptedError(IcecoreError):
    """The user stopped a job; what is finished is kept."""

    exit_code = 130


def extract(
    source: str, store: str, settings: ExtractSettings, progress: Callable[[Progress], None] | None = None
) -> ExtractReport:
    """Write the tokens of all images of `source` to `store`, or what is missing of them, and say what was done.

    Rows that cannot be decoded are recorded as failed, unless `settings.strict`. `progress` is called after each batch.

    Raises:
        IcecoreError: one line that says what is wrong; shards finished until then are kept, and the same call resumes.
    """
    started = time.monotonic()
    get_codec(settings.dtype)  # a wrong name is found before anything is read
    opened = open_source(source)
    places = _spread(len(opened.samples), settings.limit)
    backbone = load_backbone(settings.backbone, settings.checkpoint, settings.device, settings.compute_dtype)
    samples = scan(opened, places)
    spec = describe(source, store, settings, backbone, samples, opened.classes)
    job = Job(Images(opened, places, samples, backbone.transform.pixels), backbone, settings)
    try:
        with open_writer(store, spec, samples, backbone.frozen(), job.measure) as writer:
            done = job.run(writer, progress or (lambda _: None))
    except KeyboardInterrupt:
        raise ExtractInterruptedError(
            f"{store}: interrupted; finished shards are kept, go on with: {spec.command}"
        ) from None
    written = open_store(store)
    return ExtractReport(
        store=store,
        num_rows=written.num_rows,
        num_skipped=done.num_skipped,
        num_failed=len(written.failed),
        num_bytes=written.num_bytes(),
        elapsed_seconds=time.monotonic() - started,
        rows_per_second=done.rows_per_second,
    )


def _spread(num_samples: int, limit: int | None) -> list[int]:
    """Return the places of at most `limit` samples, evenly over the source: all splits and classes have some."""
    num_rows = min(limit or num_samples, num_samples)
    return [row * num_samples // num_rows for row in range(num_rows)]
