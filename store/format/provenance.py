"""The history of a store: one record for every extraction that wrote rows."""

import datetime

from ..configuration import Frozen
from .spec import StoreSpec

FACTS = ("source", "checkpoint", "command", "versions", "source_report")  # the fields of StoreSpec that a record copies


class Provenance(Frozen):
    """One extraction: its start (ISO 8601, UTC), source, command and versions, and the extent of the store after it.

    Layers, views and rows that a record has and the record before lacks were written by this extraction, or by a
    resumption of it.
    """

    started: str
    source: str
    checkpoint: str | None
    command: str
    versions: dict[str, str]
    layers: tuple[int, ...]
    views: int
    num_rows: int

    @classmethod
    def of(cls, spec: StoreSpec, num_rows: int, started: str) -> "Provenance":
        """Return the record of an extraction from the specification it was asked for."""
        return cls(
            started=started,
            source=spec.source,
            checkpoint=spec.checkpoint,
            command=spec.command,
            versions=spec.versions,
            layers=spec.identity.layers,
            views=spec.identity.views,
            num_rows=num_rows,
        )


def now() -> str:
    """Return the current time in UTC as ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
