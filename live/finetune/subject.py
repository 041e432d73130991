"""The store whose rows, splits and labels a comparison uses: a given store, or one extracted from a source."""

from pathlib import Path

from icecore.extract import ExtractSettings, SourceSettings, extract
from icecore.extract.backbone import LoadedModel, load_model
from icecore.store import IdentityError, Store, UsageError, open_store

from ..weights import require_weights
from .settings import StudySettings

OF_A_SOURCE = ("backbone", *SourceSettings.model_fields)


def is_store(where: str) -> bool:
    """Return whether `where` names a store: a URL, or a folder with zarr.json."""
    return "://" in where or (Path(where) / "zarr.json").exists()


def open_rows(where: str, folder: str, settings: StudySettings) -> Store:
    """Return a complete store of the rows, splits and labels of `where`, a store or a source.

    For a source, extract a minimal store `folder`/rows.ice (layer 0, one pooled token), so that splits, failed images
    and identity come from the usual path.

    Raises:
        UsageError: a source without `settings.backbone`, or a store with options of a source.
        IncompleteError: a store that lacks rows.
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
    rows_store = f"{folder}/rows.ice"
    minimal = {"layers": "0", "tokens": "pool:1000", "dtype": "float32", "compute_dtype": "float32", "device": "cpu"}
    shared = settings.model_dump(include={*OF_A_SOURCE, "checkpoint"})
    extract(where, rows_store, ExtractSettings.model_validate(minimal | shared))
    return open_store(rows_store)


def open_model(store: Store, checkpoint: str | None) -> LoadedModel:
    """Load the backbone that a store was extracted with.

    Raises:
        IdentityError: the weights or the preprocessing differ from those recorded in the store.
    """
    identity = store.identity
    loaded = load_model(identity.backbone, checkpoint or store.spec.checkpoint, identity.preprocessing)
    require_weights(store.url, identity.backbone, identity.weights_sha256, loaded.weights_sha256)
    if loaded.transform.config != identity.preprocessing:
        raise IdentityError(
            f"{store.url}: made with preprocessing {identity.preprocessing}, this timm gives {loaded.transform.config}"
        )
    return loaded
