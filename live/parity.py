"""Parity: how far a store's tokens are from tokens computed live, and how far predictions from them differ.

Tokens depend on the batch size, the compute dtype, the device and the libraries, so the report names all of these, for
this machine and for the extraction.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from icecore.extract import Backbone, LayerDifference, images_of, load_backbone, parse_command, worse
from icecore.extract.job import Job
from icecore.store import Frozen, IcecoreError, Store, open_store
from icecore.train import Bundle, load_bundle

from .finetune.study import Rows
from .versions import versions
from .weights import require_weights

Layers = dict[int, Float[Tensor, "row token width"]]


class PredictionParity(Frozen):
    """The parity of one bundle: the largest difference of its predictions, in the target's unit, over all rows.

    `num_changed` counts rows whose predicted class, or set of classes, changes; None for a regression.
    """

    bundle: str
    largest: float
    num_changed: int | None


class Parity(Frozen):
    """Differences by layer and by bundle, and the conditions of both sides; `stored_*` are those of the extraction."""

    num_rows: int
    layers: tuple[LayerDifference, ...]
    predictions: tuple[PredictionParity, ...]
    backbone: str
    dtype: str
    compute_dtype: str
    stored_compute_dtype: str
    batch_size: int
    device: str
    versions: dict[str, str]
    stored_versions: dict[str, str]


def parity(
    store: str,
    num_rows: int,
    bundles: Sequence[str] = (),
    checkpoint: str | None = None,
    device: str = "auto",
    compute_dtype: str | None = None,
    batch_size: int = 32,
) -> Parity:
    """Run `num_rows` rows, evenly spread over a store, through the backbone again, and compare with the stored tokens.

    `bundles` are folders of bundles whose predictions are compared too. `compute_dtype` None means the compute dtype of
    the extraction. Nothing is written.

    Raises:
        IdentityError: the weights are not those of the extraction.
        IcecoreError: the store has no rows yet, or an image can no longer be read.
    """
    opened = open_store(store)
    rows, identity = _spread(opened, num_rows), opened.identity
    backbone = _backbone_of(opened, checkpoint, device, compute_dtype)
    live = _live(opened, backbone, rows, batch_size)
    cached = {layer: opened.layer(layer).rows(rows).float() for layer in opened.layers}
    zero = {layer: LayerDifference(layer, 0.0, 0.0) for layer in opened.layers}
    return Parity(
        num_rows=len(rows),
        layers=tuple(worse(zero[layer], live[layer], cached[layer]) for layer in opened.layers),
        predictions=tuple(_predictions(path, load_bundle(path), cached, live) for path in bundles),
        backbone=backbone.name,
        dtype=identity.dtype,
        compute_dtype=backbone.compute_dtype,
        stored_compute_dtype=identity.compute_dtype,
        batch_size=batch_size,
        device=str(backbone.device),
        versions=versions(),
        stored_versions=opened.spec.versions,
    )


def _backbone_of(store: Store, checkpoint: str | None, device: str, compute_dtype: str | None) -> Backbone:
    """Load the backbone that a store was extracted with."""
    identity = store.identity
    backbone = load_backbone(
        identity.backbone,
        checkpoint or store.spec.checkpoint,
        device,
        compute_dtype or identity.compute_dtype,
        identity.preprocessing,
    )
    require_weights(store.url, identity.backbone, identity.weights_sha256, backbone.weights_sha256)
    return backbone


def _spread(store: Store, num_rows: int) -> Rows:
    present = np.flatnonzero(store.coverage.good())
    if not len(present):
        raise IcecoreError(f"{store.url}: has no rows yet; extract it first")
    num = min(num_rows, len(present))
    return present[np.arange(num) * len(present) // num]


def _live(store: Store, backbone: Backbone, rows: Rows, batch_size: int) -> Layers:
    """Return the tokens of `rows` by layer as the store reduces them, in float32 and without the loss of its codec."""
    images, layers = images_of(store, rows, backbone.transform), store.layers
    _, settings = parse_command(store.spec.command)
    job = Job(images, backbone, settings.model_copy(update={"batch_size": batch_size}))
    job.cut(max(layers))
    parts: list[Layers] = []
    for batch in job.tokens(range(len(rows)), layers):
        for row, cause in batch.failed.items():
            raise IcecoreError(f"{images.samples[row].key!r}: {cause}; the store has tokens of it")
        parts.append({layer: batch.tokens[layer].float().cpu() for layer in layers})
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def _predictions(path: str, bundle: Bundle, cached: Layers, live: Layers) -> PredictionParity:
    stored, recomputed = (
        bundle.target.standardised(bundle.predict({layer: tokens[layer] for layer in bundle.layers}))
        for tokens in (cached, live)
    )
    changed = {
        "top1": (stored.argmax(1) != recomputed.argmax(1)),
        "mean_average_precision": ((stored > 0.5) != (recomputed > 0.5)).any(1),
    }.get(bundle.target.score_name)
    return PredictionParity(
        bundle=path,
        largest=float((stored - recomputed).abs().max()),
        num_changed=None if changed is None else int(changed.sum()),
    )
