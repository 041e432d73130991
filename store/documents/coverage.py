"""Queries on the ledger: which rows, layers and views are finished, and which rows failed."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Int64

from ..errors import IncompleteError
from ..format.layout import Shard
from ..format.shard import FileDigest
from .ledger import Entry
from .root import Root


def lacking(
    root: Root, entries: Mapping[int, Entry], shards: Iterable[int], retried: Collection[int] = ()
) -> tuple[Shard, ...]:
    """Return the shards with (layer, view) pairs that the ledger does not list as finished.

    A shard in which a failed row is `retried` counts as lacking all pairs.
    """
    identity = root.spec.identity
    pairs = [(layer, view) for view in range(identity.views) for layer in identity.layers]
    unfinished: list[Shard] = []
    for index in shards:
        start, stop = root.shard_range(index)
        entry = entries.get(index)
        again = tuple(sorted(entry.failed.keys() & set(retried))) if entry is not None else ()
        known = entry if entry is not None and entry.stop == stop and not again else None
        missing = tuple(pair for pair in pairs if known is None or not known.covers(*pair))
        if missing:
            unfinished.append(Shard(index, start, stop, missing, again))
    return tuple(unfinished)


def by_reason(causes: Iterable[str]) -> dict[str, int]:
    """Count causes, the most frequent first; causes that differ only in their numbers are one reason.

    Example:
        >>> by_reason(["only 3 of 9 bytes", "only 5 of 9 bytes", "no such file"])
        {'only N of N bytes': 2, 'no such file': 1}
    """
    return dict(Counter(re.sub(r"\d+", "N", cause) for cause in causes).most_common())


class Coverage:
    """The ledger of a store, by row; `failed` gives the cause for every failed row."""

    def __init__(self, url: str, root: Root, entries: dict[int, Entry]) -> None:
        self._url = url
        self._root = root
        self._entries = entries
        self.failed = {row: cause for entry in entries.values() for row, cause in sorted(entry.failed.items())}

    def covered(self, layer: int, view: int) -> Bool[np.ndarray, " row"]:
        """Return a mask of the rows whose shard is finished in a layer and view, failed rows included."""
        rows = np.zeros(self._root.num_rows, dtype=bool)
        for entry in self._entries.values():
            rows[entry.start : entry.stop] = entry.covers(layer, view)
        return rows

    def complete(self) -> Bool[np.ndarray, " row"]:
        """Return a mask of the rows whose shard is finished in every layer and view, failed rows included."""
        identity = self._root.spec.identity
        rows = np.zeros(self._root.num_rows, dtype=bool)
        for entry in self._entries.values():
            rows[entry.start : entry.stop] = all(
                entry.covers(layer, view) for layer in identity.layers for view in range(identity.views)
            )
        return rows

    def good(self) -> Bool[np.ndarray, " row"]:
        """Return a mask of the rows that are complete and did not fail."""
        rows = self.complete()
        rows[list(self.failed)] = False
        return rows

    def require(self, rows: Int64[np.ndarray, " row"], layer: int, view: int) -> None:
        """Raise IncompleteError unless every row is finished in a layer and view and did not fail."""
        for shard in np.unique(rows // self._root.shard_rows):
            entry = self._entries.get(int(shard))
            stop = entry.stop if entry is not None and entry.covers(layer, view) else 0
            missing = int(((rows // self._root.shard_rows == shard) & (rows >= stop)).sum())
            if missing:
                raise IncompleteError(
                    f"{self._url}: {missing} of the rows asked for (shard {shard}, layer {layer}, view {view}) are not "
                    f"in the store; finish it with: {self._root.spec.command}"
                )
        if self.failed and (failed := self.failed.keys() & set(rows.tolist())):
            row = min(failed)
            raise IncompleteError(
                f"{self._url}: row {row} failed in extraction ({self.failed[row]}); read store.rows(split), which "
                "leaves failed rows out"
            )

    def digest(self, shard: int, layer: int, view: int, part: str) -> FileDigest:
        """Return the recorded digest of one file of a finished shard."""
        return self._entries[shard].files[layer][view][part]
