"""Counts, by reason, what a source leaves out and what the user should know about what it reads."""

import threading

from icecore.store import Finding


class Tally:
    """Counts by reason, with one example each; threads may add.

    >>> tally = Tally()
    >>> tally.pass_over("files ending in .txt", "notes.txt")
    >>> tally.passed_over[0].count
    1
    """

    def __init__(self) -> None:
        self._passed_over: dict[str, tuple[int, str]] = {}
        self._noted: dict[str, tuple[int, str]] = {}
        self._lock = threading.Lock()

    def pass_over(self, reason: str, example: str, count: int = 1) -> None:
        """Count files, members or lines that become no row."""
        self._add(self._passed_over, reason, example, count)

    def note(self, what: str, example: str, count: int = 1) -> None:
        """Count rows, files or labels that are read in a way worth knowing."""
        self._add(self._noted, what, example, count)

    def add(self, other: "Tally") -> None:
        """Add the notes of another tally for reasons that this tally has not counted."""
        self._noted = other._noted | self._noted

    @property
    def passed_over(self) -> tuple[Finding, ...]:
        """Counts of files, members or lines that became no row, the most frequent reason first."""
        return _findings(self._passed_over)

    @property
    def noted(self) -> tuple[Finding, ...]:
        """Counts of noted rows, files or labels, the most frequent first."""
        return _findings(self._noted)

    def _add(self, counts: dict[str, tuple[int, str]], what: str, example: str, count: int) -> None:
        with self._lock:
            known, first = counts.get(what, (0, example))
            counts[what] = known + count, min(first, example)


def _findings(counts: dict[str, tuple[int, str]]) -> tuple[Finding, ...]:
    """Return the counts, largest first."""
    order = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(Finding(what=what, count=count, example=example) for what, (count, example) in order)
