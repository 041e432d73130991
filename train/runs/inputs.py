"""The inputs of a sweep: everything in a store, apart from layers, that a result depends on.

A RUN is bound to its inputs and not to the whole store. A store that has grown by layers, by views, or by rows that the
RUN never read still holds the RUN's inputs.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from icecore.store import Frozen, Identity, Store, layer_name

from ..splits.ranges import from_ranges, to_ranges

Rows = Int64[np.ndarray, " row"]
COLUMNS = ("key", "split", "group", "sha256")  # of samples.parquet, beside the label


class Inputs(Frozen):
    """What a RUN records of its store.

    `identity` is the store's, without layers and data set: backbone, weights, preprocessing, token layout, stored and
    compute type, and as many views as were used. `rows` are the train and validation rows by number, as ranges;
    `rows_sha256` is of the number, key, split, group, source bytes and label (by name) of each.
    """

    identity: Identity
    target: str
    rows: str
    rows_sha256: str

    @property
    def sha256(self) -> str:
        """The SHA-256 of the inputs."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def row_numbers(self) -> Rows:
        """The numbers of the train and validation rows, ascending."""
        return from_ranges(self.rows)

    def growth(self, now: "Inputs") -> list[str]:
        """Return one line per quantity in which the later inputs `now` differ in size; empty if none does."""
        pairs = {
            "train and validation rows": (len(self.row_numbers), len(now.row_numbers)),
            "views": (self.identity.views, now.identity.views),
        }
        return [f"{after} {what}, {before} before" for what, (before, after) in pairs.items() if before != after]

    def differences(self, store: Store, layers: Sequence[int] = ()) -> list[str]:
        """Return one line per input, or layer, that a store no longer holds; empty if the store holds all."""
        views, now = self.identity.views, store.identity.views
        found = _used_of(store.identity, min(views, now)).differences(self.identity, "in the run")
        if missing := [layer_name(layer) for layer in layers if layer not in store.layers]:
            found.append(f"layers: {', '.join(missing)} not in the store")
        if store.spec.target != self.target:
            found.append(f"target: {store.spec.target} in the store, {self.target} in the run")
        return found + self._row_differences(store)

    def _row_differences(self, store: Store) -> list[str]:
        rows = self.row_numbers
        if len(rows) and rows[-1] >= store.num_rows:
            return [f"rows: {store.num_rows} in the store, the run read row {rows[-1]}"]
        if rows_sha256(store, rows) != self.rows_sha256:
            return [f"rows: some of its {len(rows)} have another key, label, split, group or bytes"]
        return []


def inputs_of(store: Store, rows: Rows) -> Inputs:
    """Return the inputs of a sweep that trains and validates on some rows, in all views of the store."""
    rows = np.unique(rows)
    identity = _used_of(store.identity, store.identity.views)
    digest = rows_sha256(store, rows)
    return Inputs(identity=identity, target=store.spec.target, rows=to_ranges(rows), rows_sha256=digest)


def _used_of(identity: Identity, views: int) -> Identity:
    """Return an identity without what a store may grow by; the first view is the same under every augmentation."""
    augmentation = identity.augmentation if views > 1 else None
    free = {"layers": (), "dataset_sha256": "", "views": views, "augmentation": augmentation}
    return identity.model_copy(update=free)


def rows_sha256(store: Store, rows: Rows) -> str:
    """Return the SHA-256 of everything that a store records about some rows, apart from their tokens."""
    table = store.samples.take(rows)
    columns: list[list[object]] = [rows.tolist(), *(table[name].to_pylist() for name in COLUMNS)]
    columns.append([store.classes[label] if label >= 0 else None for label in store.labels[rows].tolist()])
    if "target" in table.column_names:
        columns += [list(store.classes), table["target"].to_pylist()]
    return hashlib.sha256(json.dumps(columns, separators=(",", ":")).encode()).hexdigest()
