"""Samples from what a JSON object says of each: its split, its group and its label or target."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from icecore.store import Sample, UsageError

from .columns import Columns
from .splits import SPLITS
from .targets import targets

Described = dict[str, Any]


def from_fields(
    described: Mapping[str, tuple[str, Described]], columns: Columns, where: str
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return samples and classes of keys, each with the split its file says and its fields."""
    names = columns.label or ("label",)
    samples, values = [], []
    for key, (split, fields) in described.items():
        lacking = [name for name in (*names, columns.split, columns.group) if name and name not in fields]
        if lacking:
            raise UsageError(f"{where}: {key!r} has no field {lacking[0]!r} among {sorted(fields)}")
        said = str(fields[columns.split]) if columns.split else split
        group = str(fields[columns.group]) if columns.group else None
        samples.append(Sample(key, None, SPLITS.get(said.lower(), said), group))
        values.append([fields[name] for name in names])
    if columns.target != "class":
        found = targets(columns.target, names, values, where)
        made = (replace(sample, target=target) for sample, target in zip(samples, found.of_rows, strict=True))
        return tuple(made), found.names
    if len(names) > 1:
        raise UsageError(f"{where}: {len(names)} label fields for one class; choose --target")
    texts = [None if value is None else str(value) for (value,) in values]
    known = {text for text in texts if text is not None}
    numeric = all(map(str.isdecimal, known))
    classes = tuple(map(str, range(max(map(int, known)) + 1))) if known and numeric else tuple(sorted(known))
    number = {name: index for index, name in enumerate(classes)}
    labelled = (replace(s, label=None if t is None else number[t]) for s, t in zip(samples, texts, strict=True))
    return tuple(labelled), classes
