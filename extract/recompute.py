"""Running some rows of a finished store again: is what it holds still what the backbone says of the images?

The same images in batches of another size differ by rounding alone: float32 by 1e-5 of a layer's values, bfloat16 by
2e-2, to which the store's own type adds its step. Another image, another weight or another resize differ by much more.
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

MOST = 0.2  # int4 differs by up to 0.13, any other type by far less; other images by about 1


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """The largest difference of one layer: of a value, and of a row's tokens relative to their norm."""

    layer: int
    largest: float
    relative: float

    @property
    def ok(self) -> bool:
        """Whether rounding explains it."""
        return self.relative <= MOST


def recompute(url: str, num_rows: int, seed: int = 0) -> list[LayerDifference]:
    """Run some random rows of a store live, in the plain view, and compare every layer with what is stored.

    Raises:
        UsageError: the store's source or backbone is not here.
    """
    store = open_store(url)
    good = np.flatnonzero(store.coverage.good())
    if not len(good) or num_rows < 1:
        raise UsageError(f"{url}: {len(good)} rows can be read, {num_rows} asked for; expected at least one")
    rows = np.sort(np.random.default_rng(seed).permutation(good)[:num_rows])
    found = {layer: LayerDifference(layer, 0.0, 0.0) for layer in store.layers}
    for batch in _job(store, rows).tokens(range(len(rows)), store.layers):
        if batch.failed:
            place, cause = next(iter(batch.failed.items()))
            key = store.samples["key"][int(rows[place])].as_py()
            raise IcecoreError(f"{key!r}: was decoded for the store and cannot be now ({cause}); check the source")
        for layer, live in batch.tokens.items():
            stored = store.layer(layer).rows(rows[batch.rows])
            found[layer] = worse(found[layer], live.float().cpu(), stored)
    return list(found.values())


def images_of(store: Store, rows: np.ndarray, transform: Preprocessing) -> Images:
    """Return the images of some rows of a store, from the source that it was made of; UsageError where one is gone."""
    source, settings = parse_command(store.spec.command)
    opened = open_source(source, settings.columns)
    place = {sample.key: place for place, sample in enumerate(opened.samples)}
    every = store.as_samples()
    samples = [every[row] for row in rows]
    lacking = [sample.key for sample in samples if sample.key not in place]
    if lacking:
        raise UsageError(f"{source}: lacks {lacking[0]!r}, which is in the store; run where its images are")
    return Images(opened, [place[sample.key] for sample in samples], samples, transform)


def _job(store: Store, rows: np.ndarray) -> Job:
    """Return the job that made the store, over some of its rows."""
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
    """Return the larger differences: those so far, or those of some more rows."""
    difference = live - stored
    relative = difference.flatten(1).norm(dim=1) / live.flatten(1).norm(dim=1).clamp_min(1e-12)
    largest = max(before.largest, float(difference.abs().max()))
    return LayerDifference(before.layer, largest, max(before.relative, float(relative.max())))
