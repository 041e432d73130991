"""Find the store that a RUN was trained from, and check that it still holds the RUN's inputs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icecore.store import IcecoreError, Identity, IdentityError, Store, open_store

from ..tokens.relabelled import Relabelled
from .inputs import Inputs
from .run import Run


def open_run_store(run: Run) -> Store:
    """Open the store of a run, with labels numbered by the run's classes; the store may have grown since.

    If the store is not at its recorded path, the path relative to the RUN folder is tried: both may have moved.

    Raises:
        IdentityError: the store no longer holds the inputs of the run.
        IcecoreError: the store is missing or incomplete.
    """
    store = _opened(run)
    if found := differences(run.facts, store, run.facts["layers"]):
        raise IdentityError(
            f"{run.path}: was trained from another store than {store.url} is now ({'; '.join(found)}); train again"
        )
    store.require_complete()
    classes = tuple(run.facts["classes"])
    return store if classes == store.classes else Relabelled(store.url, classes)


def require_known_classes(run: Run, store: Store) -> None:
    """Raise IcecoreError if test rows have classes that the run was not trained on: no adapter could be right."""
    rows = store.rows("test")
    if isinstance(store, Relabelled) and (strangers := store.strangers(rows)):
        raise IcecoreError(
            f"{run.path}: does not know {', '.join(strangers)}, classes of test rows that {store.url} has now; "
            "train on rows of them"
        )


def differences(facts: Mapping[str, Any], store: Store, layers: Sequence[int] = ()) -> list[str]:
    """Return one line per input of a run that a store does not hold; `facts` are of run.json or ledger/store.json."""
    if "inputs" in facts:
        return Inputs.model_validate(facts["inputs"]).differences(store, layers)
    if facts["identity_sha256"] == store.identity.sha256:
        return []
    if "identity" not in facts:
        return [f"identity: {store.identity.sha256[:12]} in the store, {facts['identity_sha256'][:12]} in the run"]
    return _whole_differences(Identity.model_validate(facts["identity"]), facts, store, layers)


def places(store: str, run: str) -> dict[str, str]:
    """Return the location of a store for run.json: its URL or path, and a local path relative to the RUN folder."""
    if "://" in store:
        return {"store": store}
    path = Path(store).resolve()
    return {"store": str(path), "store_from_run": os.path.relpath(path, Path(run).resolve())}


def _opened(run: Run) -> Store:
    url = run.facts["store"]
    beside = Path(run.path).resolve() / run.facts.get("store_from_run", ".")
    if "://" not in url and not Path(url).exists() and "store_from_run" in run.facts and beside.exists():
        url = os.path.normpath(beside)
    try:
        return open_store(url)
    except IcecoreError as error:
        if "://" in url or Path(url).exists():
            raise
        raise IcecoreError(
            f"{run.path}: its store is not at {url}; if it has moved, train from its new place into this run with the "
            "same options, which trains nothing again"
        ) from error


def _whole_differences(then: Identity, facts: Mapping[str, Any], store: Store, layers: Sequence[int]) -> list[str]:
    """Compare with a whole identity, all that earlier versions recorded: every row of the store then counts."""
    now = store.identity
    free = {"layers": then.layers, "views": min(then.views, now.views)}
    if then.views == 1:
        free["augmentation"] = then.augmentation
    found = now.model_copy(update=free).differences(then, "in the run")
    missing = sorted(set(layers) - set(now.layers))
    found += [f"layers: {missing} not in the store"] if missing else []
    target = facts.get("target", {"name": store.spec.target})["name"]
    return found + (
        [f"target: {store.spec.target} in the store, {target} in the run"] if target != store.spec.target else []
    )
