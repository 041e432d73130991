"""How rows are cut into shards and chunks: a pure function of the data set's size and of a row's bytes."""

from dataclasses import dataclass

MAX_SHARD_BYTES = 64 << 20
MAX_SHARD_ROWS = 2048
MIN_SHARD_ROWS = 64
MIN_NUM_SHARDS = 8
MAX_CHUNK_BYTES = 2 << 20  # the last chunk is padded: 4 MB cost 2 % of a store of 2,000 rows


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows [start, stop) that one task owns, and the (layer, view) pairs of them that are still to be written.

    `retried` are rows that failed before and may not fail now: for their sake all of a finished shard is written anew.
    """

    index: int
    start: int
    stop: int
    lacking: tuple[tuple[int, int], ...]
    retried: tuple[int, ...] = ()

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that some view lacks."""
        return tuple(sorted({layer for layer, _ in self.lacking}))

    @property
    def views(self) -> tuple[int, ...]:
        """The views that some layer lacks."""
        return tuple(sorted({view for _, view in self.lacking}))


def shard_rows(num_rows: int, row_bytes: int) -> int:
    """Return the rows of a shard: a power of two under 64 MB a layer, small enough that there are 8 shards."""
    rows = _power_of_two_below(MAX_SHARD_BYTES // row_bytes, MAX_SHARD_ROWS)
    while rows > MIN_SHARD_ROWS and -(-num_rows // rows) < MIN_NUM_SHARDS:
        rows //= 2
    return rows


def chunk_rows(rows_of_shard: int, row_bytes: int) -> int:
    """Return the rows of a chunk: the largest power-of-two share of a shard under 2 MB."""
    rows = rows_of_shard
    while rows > 1 and rows % 2 == 0 and rows * row_bytes > MAX_CHUNK_BYTES:
        rows //= 2
    return rows


def _power_of_two_below(limit: int, most: int) -> int:
    rows = 1
    while rows * 2 <= min(limit, most):
        rows *= 2
    return rows
