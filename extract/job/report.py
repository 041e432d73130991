"""The result of an extraction."""

from dataclasses import dataclass

from icecore.store import SourceReport


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """Counts of the finished store and of the run that finished it."""

    store: str
    num_rows: int
    num_skipped: int  # finished by an earlier run
    num_failed: int  # rows of the store that have no tokens
    failures: dict[str, int]  # number of failed rows by cause
    num_retried: int  # rows that failed in an earlier run and were tried again
    num_mended: int  # retried rows that have tokens now
    num_bytes: int
    elapsed_seconds: float  # of this run, loading and scanning included
    rows_per_second: float  # of this run, without loading and scanning; 0 where nothing was missing
    source: SourceReport  # counts of the source: rows, splits, files passed over
