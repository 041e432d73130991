"""Counts what a source passes over, and what it reads in a way that the user should know of, by reason."""

import threading
from collections.abc import Iterator, Sequence

from icecore.store import Finding, Sample, SourceReport

from .columns import TargetKind


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

    def report(self, samples: Sequence[Sample], classes: Sequence[str], target: TargetKind = "class") -> SourceReport:
        """Return all counts, and what the samples themselves tell: splits, absent labels, classes without train rows.

        The same source gives the same report, in whatever order threads counted.
        """
        splits, told = Tally(), Tally()
        for sample in samples:
            splits.note(sample.split, sample.key)
            if sample.label is None and sample.target is None:
                told.note(f"rows of {sample.split} without a label", sample.key)
        for what, key in _doubles(samples):
            told.note(what, key)
        for name in _never_trained(samples, classes, target):
            told.note("classes without a row in train", name)
        return SourceReport(
            num_rows=len(samples),
            splits=_findings(splits._noted),
            passed_over=_findings(self._passed_over),
            noted=_findings(self._noted | told._noted),
        )

    def _add(self, counts: dict[str, tuple[int, str]], what: str, example: str, count: int) -> None:
        with self._lock:
            known, first = counts.get(what, (0, example))
            counts[what] = known + count, min(first, example)


def _doubles(samples: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    """Yield the keys of images whose very bytes occur under another label, or in another split."""
    said: dict[str, set[tuple[object, object]]] = {}
    splits: dict[str, set[str]] = {}
    for sample in samples:
        said.setdefault(sample.sha256, set()).add((sample.label, sample.target))
        splits.setdefault(sample.sha256, set()).add(sample.split)
    for sample in samples:
        if sample.sha256 and len(said[sample.sha256]) > 1:
            yield "images whose bytes occur under another label too", sample.key
        if sample.sha256 and len(splits[sample.sha256]) > 1:
            yield "images whose bytes occur in another split too", sample.key


def _never_trained(samples: Sequence[Sample], classes: Sequence[str], target: TargetKind) -> list[str]:
    """Return the classes that no row of train has."""
    train = [sample for sample in samples if sample.split == "train"]
    if not train or target == "regression":
        return []
    if target == "class":
        found = {sample.label for sample in train}
    else:
        found = {label for sample in train for label, value in enumerate(sample.target or ()) if value}
    return [name for label, name in enumerate(classes) if label not in found]


def _findings(counts: dict[str, tuple[int, str]]) -> tuple[Finding, ...]:
    """Return the counts, largest first."""
    order = sorted(counts.items(), key=lambda one: (-one[1][0], one[0]))
    return tuple(Finding(what=what, count=count, example=example) for what, (count, example) in order)
