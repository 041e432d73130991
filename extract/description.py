"""Describes a store before its first row is written: identity, shapes, and the command that resumes it."""

import platform
from collections.abc import Sequence
from importlib.metadata import version

from icecore.store import Identity, Sample, SourceReport, StoreSpec, UsageError, dataset_sha256

from .backbone.backbone import Backbone
from .decoding.augmentation import Augmentation, canonical_augmentation
from .settings import ExtractSettings, command_line
from .tokens import parse_layers, reduction

RECORDED = ("icecore", "torch", "timm", "torchvision", "pillow", "numpy", "zarr")


def describe(
    source: str,
    store: str,
    settings: ExtractSettings,
    backbone: Backbone,
    samples: Sequence[Sample],
    classes: tuple[str, ...],
    report: SourceReport,
) -> StoreSpec:
    """Return the specification of the store that the settings ask for.

    Raises:
        UsageError: the backbone lacks a layer or its tokens, or the views cannot be made.
    """
    layers = parse_layers(settings.layers, backbone.num_layers)
    settled = settings.model_copy(  # `auto` differs between machines, and a retry is asked for once
        update={"compute_dtype": backbone.compute_dtype, "retry_failed": False}
    )
    identity = Identity(
        backbone=backbone.name,
        weights_sha256=backbone.weights_sha256,
        preprocessing=backbone.preprocessing,
        layers=layers,
        tokens=settings.tokens,
        dtype=settings.dtype,
        compute_dtype=backbone.compute_dtype,
        views=settings.views,
        augmentation=_augmentation(settings, backbone),
        dataset_sha256=dataset_sha256(samples, classes),
    )
    return StoreSpec(
        identity=identity,
        layers={layer: reduction(settings.tokens, backbone.layer_spec(layer)).spec for layer in layers},
        classes=classes,
        target=settings.target,
        source=source,
        checkpoint=settings.checkpoint,
        command=command_line(source, store, settled),
        versions={"python": platform.python_version()} | {name: version(name) for name in RECORDED},
        shard_rows=settings.shard_rows,
        compressor=settings.compressor,
        source_report=report,
    )


def _augmentation(settings: ExtractSettings, backbone: Backbone) -> str | None:
    """Return the transforms of the augmented views in canonical form; None where there is the plain view alone.

    Raises:
        UsageError: `views` and `augment` contradict each other, or the transforms cannot be built.
    """
    if (settings.augment is None) != (settings.views == 1):
        raise UsageError(
            f"views {settings.views} and augment {settings.augment!r}; expected both or neither: view 0 is the plain "
            "image, every further one is augmented"
        )
    if settings.augment is None:
        return None
    Augmentation(settings.augment, backbone.transform.resize_size)
    return canonical_augmentation(settings.augment)
