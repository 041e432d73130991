"""All that comes before the first forward: the source opened and scanned, the backbone loaded, the store described."""

from collections.abc import Sequence
from dataclasses import dataclass

from icecore.store import (
    FrozenBackbone,
    Sample,
    SizeEstimate,
    SourceReport,
    StoreSpec,
    UsageError,
    estimate_size,
    stored_identity,
)
from icecore.store.codecs import get_codec

from .backbone_loading import load_backbone
from .backbone_streaming import StreamedBackbone, stream_backbone
from .decoding_choice import asked_decoding, settled_decoding
from .description import describe
from .images import Images
from .job import Job
from .scan import scan
from .settings import ExtractSettings
from .sources import open_source
from .split_moves import move_splits
from .streamed_job import StreamedJob
from .survey import extents, note_oddities


@dataclass(frozen=True, slots=True)
class Prepared:
    """An extraction that is ready to run, and what its store will weigh."""

    spec: StoreSpec
    samples: Sequence[Sample]
    frozen: FrozenBackbone
    job: Job
    size: SizeEstimate
    report: SourceReport


def prepare(source: str, store: str, settings: ExtractSettings) -> Prepared:
    """Make an extraction ready; every wrong word of the request is found here, and nothing is written."""
    get_codec(settings.dtype)  # a wrong name is found before anything is read
    if settings.workers and settings.scheduler:
        raise UsageError(f"workers {settings.workers} and scheduler {settings.scheduler!r}; expected one of the two")
    if settings.stream_blocks and (settings.workers or settings.scheduler):
        raise UsageError("stream-blocks runs in one process; expected no workers and no scheduler with it")
    opened = open_source(source, settings.columns)
    places = _spread(len(opened.samples), settings.limit)
    load = stream_backbone if settings.stream_blocks else load_backbone
    backbone = load(
        settings.backbone, settings.checkpoint, settings.device, settings.compute_dtype, settings.preprocessing
    )
    for found in backbone.notes:
        opened.tally.note(found.what, found.example, found.count)
    recorded = stored_identity(store)
    rules = asked_decoding(settings, recorded and recorded.preprocessing)
    scanned = scan(opened, places, rules)
    found = extents(opened, places, scanned, rules)
    backbone.transform.decoding = settled_decoding(rules, recorded is None, settings.range, found.values())
    note_oddities(opened.tally, scanned, found, backbone.transform)
    samples = move_splits(scanned.samples, settings.split)
    report = opened.tally.report(samples, opened.classes, settings.target)
    spec = describe(source, store, settings, backbone, samples, opened.classes, report)
    frozen = backbone.frozen()
    size = estimate_size(spec, len(samples), sum(tensor.nbytes for tensor in frozen.tensors.values()))
    images = Images(opened, places, samples, backbone.transform)
    job = (
        StreamedJob(images, backbone, settings)
        if isinstance(backbone, StreamedBackbone)
        else Job(images, backbone, settings)
    )
    return Prepared(spec, samples, frozen, job, size, report)


def _spread(num_samples: int, limit: int | None) -> list[int]:
    """Return the places of at most `limit` samples, evenly over the source: all splits and classes have some."""
    num_rows = min(limit or num_samples, num_samples)
    return [row * num_samples // num_rows for row in range(num_rows)]
