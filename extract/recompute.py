"""Checks a finished store: runs some of its rows again and compares the tokens with the stored ones.

The same images in batches of another size differ by rounding alone: by 1e-5 relative to a layer's values in float32 and
2e-2 in bfloat16, plus the quantisation step of the store. Other images, weights or resizing differ by much more.
"""

from dataclasses import dataclass

import numpy as np
import torch

from icecore.store import IcecoreError, Store, UsageError, open_store

from .backbone.loading import load_backbone
from .backbone.transform import Preprocessing
from .job.job import Job
from .rows.images import Images
from .settings import parse_command
from .sources import open_source

MOST = 0.2  # relative difference; int4 reaches 0.13, other types far less, another image about 1


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """The largest differences of one layer: of a single value, and of a row's tokens relative to their norm."""

    layer: int
    largest: float
    relative: float

    @property
    def ok(self) -> bool:
        """Whether rounding and quantisation explain the difference."""
        return self.relative <= MOST


def recompute(url: str, num_rows: int, seed: int = 0) -> list[LayerDifference]:
    """Run random rows of a store through the backbone, in the plain view, and compare every layer with the store.

    Args:
        url: of the store.
        num_rows: how many rows to run; at most all that have tokens.
        seed: chooses the rows.

    Raises:
        UsageError: the source or the backbone of the store is not on this machine, or no row has tokens.
        IcecoreError: an image cannot be decoded any more.
    """
    store = open_store(url)
    good = np.flatnonzero(store.coverage.good())
    if not len(good) or num_rows < 1:
        raise UsageError(f"{url}: {len(good)} rows can be read, {num_rows} asked for; expected at least one")
    rows = np.sort(np.random.default_rng(seed).permutation(good)[:num_rows])
    differences = {layer: LayerDifference(layer, 0.0, 0.0) for layer in store.layers}
    for batch in _job(store, rows).tokens(range(len(rows)), store.layers):
        if batch.failed:
            index, cause = next(iter(batch.failed.items()))
            key = store.samples["key"][int(rows[index])].as_py()
            raise IcecoreError(f"{key!r}: was decoded for the store and cannot be now ({cause}); check the source")
        for layer, live in batch.tokens.items():
            stored = store.layer(layer).rows(rows[batch.rows])
            differences[layer] = worse(differences[layer], live.float().cpu(), stored)
    return list(differences.values())


def images_of(store: Store, rows: np.ndarray, transform: Preprocessing) -> Images:
    """Return the images of rows of a store, read from the source of the store.

    Raises:
        UsageError: the source is not on this machine, or lacks one of the images.
    """
    source, settings = parse_command(store.spec.command)
    opened = open_source(source, settings.columns)
    source_rows = {sample.key: row for row, sample in enumerate(opened.samples)}
    all_samples = store.as_samples()
    samples = [all_samples[row] for row in rows]
    lacking = [sample.key for sample in samples if sample.key not in source_rows]
    if lacking:
        raise UsageError(f"{source}: lacks {lacking[0]!r}, which is in the store; run where its images are")
    return Images(opened, [source_rows[sample.key] for sample in samples], samples, transform)


def _job(store: Store, rows: np.ndarray) -> Job:
    """Return the job of the store's own command over some of its rows."""
    _, settings = parse_command(store.spec.command)
    backbone = load_backbone(
        settings.backbone,
        settings.checkpoint,
        settings.device,
        store.identity.compute_dtype,
        store.identity.preprocessing,
    )
    return Job(images_of(store, rows, backbone.transform), backbone, settings)


def worse(before: LayerDifference, live: torch.Tensor, stored: torch.Tensor) -> LayerDifference:
    """Return the larger of the differences so far and those between `live` and `stored` tokens of more rows."""
    difference = live - stored
    relative = difference.flatten(1).norm(dim=1) / live.flatten(1).norm(dim=1).clamp_min(1e-12)
    largest = max(before.largest, float(difference.abs().max()))
    return LayerDifference(before.layer, largest, max(before.relative, float(relative.max())))
