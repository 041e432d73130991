"""The rows that are compared on: those of a store, or of a source as the store that its extraction would make."""

from pathlib import Path

from icecore.extract import ExtractSettings, SourceSettings, extract
from icecore.extract.backbone import LoadedModel, load_model
from icecore.store import IdentityError, Store, UsageError, open_store

from ..weights import require_weights
from .settings import StudySettings

OF_A_SOURCE = ("backbone", *SourceSettings.model_fields)


def is_store(where: str) -> bool:
    """Say whether a path or URL is meant as a store."""
    return "://" in where or (Path(where) / "zarr.json").exists()


def open_rows(where: str, folder: str, settings: StudySettings) -> Store:
    """Return a store that has the rows, splits and labels.

    For a source one is made in `folder`, of next to nothing: what enters the first block, pooled to one vector. So its
    rows, its failed images and its identity are found and recorded as they always are.
    """
    if is_store(where):
        for name in OF_A_SOURCE:
            if getattr(settings, name) != StudySettings.model_fields[name].default:
                raise UsageError(f"{name.replace('_', '-')}: has no effect on a store, which has its own; leave it out")
        store = open_store(where)
        store.require_complete()
        return store
    if settings.backbone is None:
        raise UsageError(f"{where}: a source names no backbone; give --backbone NAME, or a store")
    made = f"{folder}/rows.ice"
    wanted = {"layers": "0", "tokens": "pool:1000", "dtype": "float32", "compute_dtype": "float32", "device": "cpu"}
    shared = settings.model_dump(include={*OF_A_SOURCE, "checkpoint"})
    extract(where, made, ExtractSettings.model_validate(wanted | shared))
    return open_store(made)


def open_model(store: Store, checkpoint: str | None) -> LoadedModel:
    """Load the model that a store was made with; IdentityError where the weights or the images would be others."""
    identity = store.identity
    loaded = load_model(identity.backbone, checkpoint or store.spec.checkpoint, identity.preprocessing)
    require_weights(store.url, identity.backbone, identity.weights_sha256, loaded.weights_sha256)
    if loaded.transform.config != identity.preprocessing:
        raise IdentityError(
            f"{store.url}: made with preprocessing {identity.preprocessing}, this timm gives {loaded.transform.config}"
        )
    return loaded
