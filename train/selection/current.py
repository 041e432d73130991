"""Checks whether a RUN and its selection are up to date with the store and the settings."""

from pydantic import ValidationError

from icecore.store import open_store

from ..runs.inputs import rows_sha256
from ..runs.origin import open_run_store
from ..runs.run import open_run
from ..settings import SelectSettings, TrainSettings
from ..sweep.preparation import works_of
from .chosen import read_chosen


def is_current(run: str, store: str, settings: TrainSettings) -> bool:
    """Return whether a RUN was trained with these settings on the present rows and layers of the store."""
    facts = open_run(run).facts
    if facts["settings"] != settings.model_dump(mode="json"):
        return False
    if "inputs" not in facts:  # runs of an earlier version recorded the whole identity
        return facts["identity_sha256"] == open_store(store).identity.sha256
    work = works_of(store, settings)[0]
    if facts["inputs"] != work.inputs.model_dump(mode="json"):
        return False
    return _are_named(settings.layers) or facts["store_layers"] == list(work.store.layers)


def is_choice_current(run: str, settings: SelectSettings) -> bool:
    """Return whether a RUN holds a selection by these settings, from its present adapters and test rows."""
    opened, chosen = open_run(run), read_chosen(run)
    if chosen is None or not chosen.is_of(opened) or not _is_same(chosen.selection.settings, settings):
        return False
    store = open_run_store(opened)
    return chosen.selection.test_rows_sha256 in (None, rows_sha256(store, store.rows("test")))


def _is_same(recorded: object, asked: SelectSettings) -> bool:
    """Return whether recorded settings, of any version, equal `asked`."""
    try:
        return SelectSettings.model_validate(recorded) == asked
    except ValidationError:
        return False


def _are_named(layers: str) -> bool:
    """Return whether `layers` names fixed layers, whichever layers the store has."""
    return layers != "all" and not layers.startswith("top")
