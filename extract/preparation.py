"""All that comes before the first forward: the source opened and scanned, the backbone loaded, the store described."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from icecore.store import (
    FrozenBackbone,
    IcecoreError,
    Sample,
    SizeEstimate,
    SourceReport,
    StoreSpec,
    UsageError,
    estimate_size,
    open_store,
    stored_identity,
)
from icecore.store.codecs import get_codec

from .backbone.loading import load_backbone
from .backbone.streaming import StreamedBackbone, stream_backbone
from .description import describe
from .files.apart import require_apart
from .job.job import Job
from .job.streamed_job import StreamedJob
from .rows.decoding_choice import asked_decoding, settled_decoding
from .rows.images import Images
from .rows.proportion import in_proportion
from .rows.scan import scan
from .rows.source_report import source_report
from .rows.split_moves import move_splits
from .rows.survey import extents, note_oddities
from .settings import ExtractSettings
from .sources import open_source


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
    require_apart(source, store)
    opened = open_source(source, settings.columns)
    moved = move_splits(opened.samples, settings.split)
    places = _limited(moved, settings.limit, store)
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
    samples = [replace(sample, split=moved[place].split) for place, sample in zip(places, scanned.samples, strict=True)]
    report = source_report(opened.tally, samples, opened.classes, settings.target)
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


def _limited(samples: Sequence[Sample], limit: int | None, store: str) -> list[int]:
    """Return the places of at most `limit` samples, with every split and class in proportion.

    Of two limits the larger takes all that the smaller takes, and what a store holds stays, so that it can grow.
    """
    if limit is None or limit >= len(samples):
        return list(range(len(samples)))
    strata: dict[str, dict[int | None, list[int]]] = {}
    for place, sample in enumerate(samples):
        strata.setdefault(sample.split, {}).setdefault(sample.label, []).append(place)
    drawn = [
        in_proportion([[group[place] for place in _spread(len(group))] for group in classes.values()])
        for classes in strata.values()
    ]
    known = _keys(store)
    order = sorted(in_proportion(drawn), key=lambda place: samples[place].key not in known)  # stable
    return sorted(order[:limit])


def _spread(num_samples: int, limit: int | None = None) -> list[int]:
    """Return places in an order drawn by a hash: every k-th would fall in with whatever repeats in the source."""
    lots = sorted((hashlib.sha256(str(place).encode()).digest(), place) for place in range(num_samples))
    return [place for _, place in lots[:limit]]


def _keys(store: str) -> set[str]:
    """Return the keys of the rows that a store holds; none where there is no store, or one that cannot be read."""
    try:
        return set(open_store(store).samples["key"].to_pylist())
    except IcecoreError:
        return set()
