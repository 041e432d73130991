"""The division of rows into shards and chunks: a pure function of the number of rows and the bytes of a row."""

from dataclasses import dataclass

MAX_SHARD_BYTES = 64 << 20
MAX_SHARD_ROWS = 2048
MIN_SHARD_ROWS = 64
MIN_NUM_SHARDS = 8
MAX_CHUNK_BYTES = 2 << 20  # the last chunk is padded: 4 MB cost 2 % of a store of 2,000 rows


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows [start, stop) that one task extracts, and the (layer, view) pairs that it still has to write.

    `retried` lists rows that failed before and are tried again; a finished shard that has some is rewritten whole.
    """

    index: int
    start: int
    stop: int
    lacking: tuple[tuple[int, int], ...]
    retried: tuple[int, ...] = ()

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers to write in at least one view, ascending."""
        return tuple(sorted({layer for layer, _ in self.lacking}))

    @property
    def views(self) -> tuple[int, ...]:
        """The views to write in at least one layer, ascending."""
        return tuple(sorted({view for _, view in self.lacking}))


def shard_rows(num_rows: int, row_bytes: int) -> int:
    """Return the number of rows in a shard: a power of two, at most 64 MiB a layer and 2048 rows.

    A small data set gets smaller shards (down to 64 rows), so that it has at least 8 to share among workers.

    Example:
        >>> shard_rows(num_rows=50_000, row_bytes=197 * 768)
        256
        >>> shard_rows(num_rows=1_000, row_bytes=768)
        128
    """
    rows = _power_of_two_below(MAX_SHARD_BYTES // row_bytes, MAX_SHARD_ROWS)
    while rows > MIN_SHARD_ROWS and -(-num_rows // rows) < MIN_NUM_SHARDS:
        rows //= 2
    return rows


def chunk_rows(rows_of_shard: int, row_bytes: int) -> int:
    """Return the number of rows in a chunk: a shard's rows, halved until a chunk is at most 2 MiB.

    Example:
        >>> chunk_rows(rows_of_shard=256, row_bytes=197 * 768)
        8
    """
    rows = rows_of_shard
    while rows > 1 and rows % 2 == 0 and rows * row_bytes > MAX_CHUNK_BYTES:
        rows //= 2
    return rows


def _power_of_two_below(limit: int, most: int) -> int:
    rows = 1
    while rows * 2 <= min(limit, most):
        rows *= 2
    return rows
