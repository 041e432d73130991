"""Whether a RUN is what training now would make of it."""

from icecore.store import open_store

from .preparation import works_of
from .run import open_run
from .settings import TrainSettings


def is_current(run: str, store: str, settings: TrainSettings) -> bool:
    """Say whether a RUN was trained by these settings on all that a store has for them now."""
    facts = open_run(run).facts
    if facts["settings"] != settings.model_dump(mode="json"):
        return False
    if "inputs" not in facts:  # of an earlier version, which recorded the whole identity
        return facts["identity_sha256"] == open_store(store).identity.sha256
    work = works_of(store, settings)[0]
    if facts["inputs"] != work.inputs.model_dump(mode="json"):
        return False
    return _are_named(settings.layers) or facts["store_layers"] == list(work.store.layers)


def _are_named(layers: str) -> bool:
    """Say whether layers are the same however many a store has."""
    return layers != "all" and not layers.startswith("top")
