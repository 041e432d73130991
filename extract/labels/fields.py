"""Samples from what a JSON object says of each: its split, its group and its label or target."""

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
    """Return samples and classes of keys, each with the split its file says and its fields."""
    names = columns.label or ("label",)
    samples, values = [], []
    for key, (split, fields) in described.items():
        lacking = [name for name in (*names, columns.split, columns.group) if name and name not in fields]
        if lacking:
            raise UsageError(f"{where}: {key!r} has no field {lacking[0]!r} among {sorted(fields)}")
        said = column_split(fields[columns.split], f"{where}: {key!r}") if columns.split else split
        group = fields[columns.group] if columns.group else None
        samples.append(Sample(key, None, said, None if group is None else str(group)))
        values.append([fields[name] for name in names])
    keys = list(described)
    found = read_labels(Cells(names, values, where, lambda row: f"{where}: {keys[row]!r}"), columns, tally)
    told = zip(samples, found.labels, found.targets, strict=True)
    return tuple(replace(sample, label=label, target=target) for sample, label, target in told), found.classes
