"""Prepares an extraction: opens and scans the source, loads the backbone, describes the store."""

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
    """An extraction that is ready to run, and the estimated size of its store."""

    spec: StoreSpec
    samples: Sequence[Sample]
    frozen: FrozenBackbone
    job: Job
    size: SizeEstimate
    report: SourceReport


def prepare(source: str, store: str, settings: ExtractSettings) -> Prepared:
    """Return an extraction that is ready to run; nothing is written.

    Raises:
        UsageError: a setting is wrong, the source holds no images, or the backbone cannot be loaded. All errors of the
            request are found here, before the first forward pass.
        PassingError: an image cannot be read at present.
    """
    get_codec(settings.dtype)  # finds a wrong name before the source is read
    if settings.workers and settings.scheduler:
        raise UsageError(f"workers {settings.workers} and scheduler {settings.scheduler!r}; expected one of the two")
    if settings.stream_blocks and (settings.workers or settings.scheduler):
        raise UsageError("stream-blocks runs in one process; expected no workers and no scheduler with it")
    require_apart(source, store)
    opened = open_source(source, settings.columns)
    moved = move_splits(opened.samples, settings.split)
    rows = _limited(moved, settings.limit, store)
    load = stream_backbone if settings.stream_blocks else load_backbone
    backbone = load(
        settings.backbone, settings.checkpoint, settings.device, settings.compute_dtype, settings.preprocessing
    )
    for finding in backbone.notes:
        opened.tally.note(finding.what, finding.example, finding.count)
    recorded = stored_identity(store)
    rules = asked_decoding(settings, recorded and recorded.preprocessing)
    scanned = scan(opened, rows, rules)
    value_extents = extents(opened, rows, scanned, rules)
    backbone.transform.decoding = settled_decoding(rules, recorded is None, settings.range, value_extents.values())
    note_oddities(opened.tally, scanned, value_extents, backbone.transform)
    samples = [replace(sample, split=moved[row].split) for row, sample in zip(rows, scanned.samples, strict=True)]
    report = source_report(opened.tally, samples, opened.classes, settings.target)
    spec = describe(source, store, settings, backbone, samples, opened.classes, report)
    frozen = backbone.frozen()
    size = estimate_size(spec, len(samples), sum(tensor.nbytes for tensor in frozen.tensors.values()))
    images = Images(opened, rows, samples, backbone.transform)
    job = (
        StreamedJob(images, backbone, settings)
        if isinstance(backbone, StreamedBackbone)
        else Job(images, backbone, settings)
    )
    return Prepared(spec, samples, frozen, job, size, report)


def _limited(samples: Sequence[Sample], limit: int | None, store: str) -> list[int]:
    """Return the indices of at most `limit` samples, with every split and class in proportion.

    A larger limit takes all samples that a smaller one takes, and samples of an existing store stay, so that the store
    can grow.
    """
    if limit is None or limit >= len(samples):
        return list(range(len(samples)))
    strata: dict[str, dict[int | None, list[int]]] = {}
    for row, sample in enumerate(samples):
        strata.setdefault(sample.split, {}).setdefault(sample.label, []).append(row)
    drawn = [
        in_proportion([[group[index] for index in _shuffled(len(group))] for group in classes.values()])
        for classes in strata.values()
    ]
    stored = _stored_keys(store)
    order = sorted(in_proportion(drawn), key=lambda row: samples[row].key not in stored)  # stored rows first; stable
    return sorted(order[:limit])


def _shuffled(num_samples: int) -> list[int]:
    """Return indices in the order of their hashes; every k-th sample might coincide with a period of the source."""
    return sorted(range(num_samples), key=lambda index: hashlib.sha256(str(index).encode()).digest())


def _stored_keys(store: str) -> set[str]:
    """Return the keys of the rows of a store; none where the store does not exist or cannot be read."""
    try:
        return set(open_store(store).samples["key"].to_pylist())
    except IcecoreError:
        return set()
