"""Where the rows of a store came from: a record of every extraction that had rows to write."""

import datetime

from ..configuration import Frozen
from .spec import StoreSpec

FACTS = ("source", "checkpoint", "command", "versions", "source_report")  # of a specification: what says where from


class Provenance(Frozen):
    """An extraction: when it began (ISO 8601, UTC), what it read and with what, and what the store was to hold then.

    What a record names and the one before does not (layers, views, rows) came from the record's extraction, or from one
    that went on with it.
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
        """Return the record of an extraction that asks for a specification."""
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
    """Return the time as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
