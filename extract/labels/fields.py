"""Makes samples from JSON objects that give split, group, and label or target."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from icecore.store import Sample, UsageError

from ..files.tally import Tally
from .cells import Cells
from .columns import Columns
from .labels import read_labels
from .splits import column_split

Described = dict[str, Any]


def from_fields(
    described: Mapping[str, tuple[str, Described]], columns: Columns, where: str, tally: Tally
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return the samples and classes of described keys.

    Args:
        described: by key, the split that the file name gives (used without a column of splits) and the fields.
        columns: the names of the fields.
        where: names the source in error messages.
        tally: notes how labels are read.

    Raises:
        UsageError: a field is lacking or its value cannot be read.
    """
    names = columns.label or ("label",)
    samples, values = [], []
    for key, (split, fields) in described.items():
        lacking = [name for name in (*names, columns.split, columns.group) if name and name not in fields]
        if lacking:
            raise UsageError(f"{where}: {key!r} has no field {lacking[0]!r} among {sorted(fields)}")
        row_split = column_split(fields[columns.split], f"{where}: {key!r}") if columns.split else split
        group = fields[columns.group] if columns.group else None
        samples.append(Sample(key, None, row_split, None if group is None else str(group)))
        values.append([fields[name] for name in names])
    keys = list(described)
    labels = read_labels(Cells(names, values, where, lambda row: f"{where}: {keys[row]!r}"), columns, tally)
    labelled = zip(samples, labels.labels, labels.targets, strict=True)
    return tuple(replace(sample, label=label, target=target) for sample, label, target in labelled), labels.classes
