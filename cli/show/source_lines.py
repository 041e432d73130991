"""The splits of a source, and the files it skipped, as lines of name and value."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .terminal import notes

if TYPE_CHECKING:
    from icecore.extract.files import Tally
    from icecore.store import Finding, SourceReport

MOST = 12  # lines of each kind; --json of extract and inspect lists all


def source_lines(report: "SourceReport") -> list[tuple[str, str]]:
    """Return the splits with their numbers of rows, then skipped files, then notes, each as (name, value)."""
    return [*_split_lines(report), *passed_lines(report)]


def print_splits(report: "SourceReport") -> None:
    """Print the splits to standard error before extraction, so that a user can stop a wrong split early."""
    lines = _split_lines(report)
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        notes().print(f"{name.ljust(width)}  {value}", markup=False)


def passed_lines(report: "SourceReport | Tally") -> list[tuple[str, str]]:
    """Return the skipped files by reason, and the notes about decoded images."""
    return [*_lines("left out", report.passed_over), *_lines("note", report.noted)]


def _split_lines(report: "SourceReport") -> list[tuple[str, str]]:
    return [(f"split {found.what}", f"{found.count} rows, first {found.example!r}") for found in report.splits]


def _lines(name: str, findings: "Sequence[Finding]") -> list[tuple[str, str]]:
    lines = [(name, f"{found.count} {found.what}, first {found.example!r}") for found in findings[:MOST]]
    more = findings[MOST:]
    rest = sum(found.count for found in more)
    return [*lines, *([(name, f"{rest} for {len(more)} other reasons: see --json")] if more else [])]
