"""What the rows of a source are and what it passed over, as a store records it beside its identity."""

from collections import Counter
from collections.abc import Iterator, Sequence

from icecore.store import Sample, SourceReport

from ..files.tally import Tally
from ..labels.columns import TargetKind


def source_report(
    tally: Tally, samples: Sequence[Sample], classes: Sequence[str], target: TargetKind = "class"
) -> SourceReport:
    """Return all counts of a source, and what its samples tell: splits, absent labels, classes without train rows.

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
    for name in _nearly_alike(classes):
        told.note("classes whose names differ in case, blanks or leading zeros alone", name)
    told.add(tally)
    return SourceReport(num_rows=len(samples), splits=splits.noted, passed_over=tally.passed_over, noted=told.noted)


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


def _nearly_alike(classes: Sequence[str]) -> list[str]:
    """Return the classes that may be one, written in several ways: `Cat` and `cat `, `01` and `1`."""
    forms = [" ".join(name.casefold().split()) for name in classes]
    forms = [form.lstrip("0") or "0" if form.isdecimal() else form for form in forms]
    counts = Counter(forms)
    return [name for name, form in zip(classes, forms, strict=True) if counts[form] > 1]


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
