"""The rows that are compared on: those of a store, or of a source as the store that its extraction would make."""

from collections.abc import Sequence
from pathlib import Path

from icecore.extract import ExtractSettings, Source, extract, open_source
from icecore.extract.backbone_loading import LoadedModel, load_model
from icecore.extract.images import Images
from icecore.store import IcecoreError, IdentityError, Store, UsageError, open_store

from .settings import CompareSettings


def is_store(where: str) -> bool:
    """Say whether a path or URL is meant as a store."""
    return "://" in where or (Path(where) / "zarr.json").exists()


def open_rows(where: str, folder: str, settings: CompareSettings) -> Store:
    """Return a store that has the rows, splits and labels.

    For a source one is made in `folder`, of next to nothing: what enters the first block, pooled to one vector. So its
    rows, its failed images and its identity are found and recorded as they always are.
    """
    if is_store(where):
        store = open_store(where)
        store.require_complete()
        return store
    if settings.backbone is None:
        raise UsageError(f"{where}: a source names no backbone; give --backbone NAME, or a store")
    made = f"{folder}/rows.ice"
    wanted = {"layers": "0", "tokens": "pool:1000", "dtype": "float32", "compute_dtype": "float32", "device": "cpu"}
    shared = settings.model_dump(include={"backbone", "checkpoint", "img_size", "limit"})
    extract(where, made, ExtractSettings.model_validate(wanted | shared))
    return open_store(made)


def open_model(store: Store, checkpoint: str | None) -> LoadedModel:
    """Load the model that a store was made with; IdentityError where the weights or the images would be others."""
    identity = store.identity
    _, height, width = identity.preprocessing["input_size"]  # pyright: ignore[reportGeneralTypeIssues, reportIndexIssue, reportOptionalSubscript]
    loaded = load_model(identity.backbone, checkpoint or store.spec.checkpoint, height if height == width else None)  # pyright: ignore[reportArgumentType]
    if loaded.weights_sha256 != identity.weights_sha256:
        raise IdentityError(
            f"{store.url}: made with {identity.backbone} of weights {identity.weights_sha256}, got weights "
            f"{loaded.weights_sha256}; give that checkpoint with --checkpoint"
        )
    if loaded.transform.config != identity.preprocessing:
        raise IdentityError(
            f"{store.url}: made with preprocessing {identity.preprocessing}, this timm gives {loaded.transform.config}"
        )
    return loaded


def open_images(store: Store, loaded: LoadedModel) -> Images:
    """Return the images of a store's rows, read from the source that it was made of."""
    source = open_source(store.spec.source)
    samples = store.as_samples()
    return Images(source, _places(store, source, [sample.key for sample in samples]), samples, loaded.transform.pixels)


def _places(store: Store, source: Source, keys: Sequence[str]) -> list[int]:
    known = {sample.key: place for place, sample in enumerate(source.samples)}
    missing = [key for key in keys if key not in known]
    if missing:
        raise IcecoreError(
            f"{store.url}: its source {store.spec.source!r} has no {missing[0]!r} any more ({len(missing)} of "
            f"{len(keys)} rows are gone); bring them back, or extract again"
        )
    return [known[key] for key in keys]
