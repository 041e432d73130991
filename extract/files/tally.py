"""Counts what a source passes over, and what it reads in a way that the user should know of, by reason."""

import threading

from icecore.store import Finding


class Tally:
    """Counts by reason, with one example each; safe to add to from several threads."""

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
        """Take over what another one noted, for other reasons than are counted here."""
        self._noted = other._noted | self._noted

    @property
    def passed_over(self) -> tuple[Finding, ...]:
        """What became no row, by reason, the most frequent first."""
        return _findings(self._passed_over)

    @property
    def noted(self) -> tuple[Finding, ...]:
        """What is worth knowing, the most frequent first."""
        return _findings(self._noted)

    def _add(self, counts: dict[str, tuple[int, str]], what: str, example: str, count: int) -> None:
        with self._lock:
            known, first = counts.get(what, (0, example))
            counts[what] = known + count, min(first, example)


def _findings(counts: dict[str, tuple[int, str]]) -> tuple[Finding, ...]:
    """Return the counts, largest first."""
    order = sorted(counts.items(), key=lambda one: (-one[1][0], one[0]))
    return tuple(Finding(what=what, count=count, example=example) for what, (count, example) in order)
