"""What an extraction did."""

from dataclasses import dataclass

from icecore.store import SourceReport


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """The rows and bytes of the finished store, and what this run had to do for it."""

    store: str
    num_rows: int
    num_skipped: int  # finished by an earlier run
    num_failed: int  # rows of the store that have no tokens
    failures: dict[str, int]  # how many of them for what reason
    num_retried: int  # rows that an earlier run recorded as failed, and this one tried again
    num_mended: int  # those of them that have tokens now
    num_bytes: int
    elapsed_seconds: float  # of this run, loading and scanning included
    rows_per_second: float  # of this run, while it was extracting; 0 where there was nothing to do
    source: SourceReport  # what the source held and left out
