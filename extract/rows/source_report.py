"""Summarises a source: its rows, and the files that it leaves out; a store records the summary."""

from collections import Counter
from collections.abc import Iterator, Sequence

from icecore.store import Sample, SourceReport

from ..files.tally import Tally
from ..labels.columns import TargetKind


def source_report(
    tally: Tally, samples: Sequence[Sample], classes: Sequence[str], target: TargetKind = "class"
) -> SourceReport:
    """Return the counts of a source, and of its samples: splits, missing labels, untrained classes, duplicates.

    The report does not depend on the order in which threads counted.
    """
    splits, notes = Tally(), Tally()
    for sample in samples:
        splits.note(sample.split, sample.key)
        if sample.label is None and sample.target is None:
            notes.note(f"rows of {sample.split} without a label", sample.key)
    for what, key in _doubles(samples):
        notes.note(what, key)
    for name in _never_trained(samples, classes, target):
        notes.note("classes without a row in train", name)
    for name in _nearly_alike(classes):
        notes.note("classes whose names differ in case, blanks or leading zeros alone", name)
    notes.add(tally)
    return SourceReport(num_rows=len(samples), splits=splits.noted, passed_over=tally.passed_over, noted=notes.noted)


def _doubles(samples: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    """Yield a reason and a key for each image whose bytes occur under another label or in another split."""
    labels: dict[str, set[tuple[object, object]]] = {}
    splits: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.sha256, set()).add((sample.label, sample.target))
        splits.setdefault(sample.sha256, set()).add(sample.split)
    for sample in samples:
        if sample.sha256 and len(labels[sample.sha256]) > 1:
            yield "images whose bytes occur under another label too", sample.key
        if sample.sha256 and len(splits[sample.sha256]) > 1:
            yield "images whose bytes occur in another split too", sample.key


def _nearly_alike(classes: Sequence[str]) -> list[str]:
    """Return the classes whose names may be spellings of one class: `Cat` and `cat `, `01` and `1`."""
    forms = [" ".join(name.casefold().split()) for name in classes]
    forms = [form.lstrip("0") or "0" if form.isdecimal() else form for form in forms]
    counts = Counter(forms)
    return [name for name, form in zip(classes, forms, strict=True) if counts[form] > 1]


def _never_trained(samples: Sequence[Sample], classes: Sequence[str], target: TargetKind) -> list[str]:
    """Return the classes without a row in train."""
    train = [sample for sample in samples if sample.split == "train"]
    if not train or target == "regression":
        return []
    if target == "class":
        trained = {sample.label for sample in train}
    else:
        trained = {label for sample in train for label, value in enumerate(sample.target or ()) if value}
    return [name for label, name in enumerate(classes) if label not in trained]
