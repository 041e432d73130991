"""Targets other than one class, from what a table says: 0 or 1 for every class, or a number for every output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icecore.store import UsageError

from .columns import TargetKind

Target = tuple[float, ...] | None
SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class Targets:
    """A target for each row, None where a row has none, and the names of its numbers."""

    names: tuple[str, ...]
    of_rows: list[Target]


def targets(
    kind: TargetKind, columns: Sequence[str], rows: Sequence[Sequence[Any]], where: str, names: Sequence[str] = ()
) -> Targets:
    """Return the targets that the values of some columns mean, row by row.

    Several columns hold a number each, for several classes 0 or 1. One column holds a list, or one number; for several
    classes a list of their names or numbers, or names separated by `;`. A row whose values are all empty has no target.

    Raises:
        UsageError: a value that is no such thing, with the row's number.
    """
    listed = kind == "multilabel" and len(columns) == 1
    return _named(columns[0], rows, where, names) if listed else _numbers(kind, columns, rows, where)


def _named(column: str, rows: Sequence[Sequence[Any]], where: str, names: Sequence[str]) -> Targets:
    listed = [_names(values[0], names, f"{where}: row {row}, column {column!r}") for row, values in enumerate(rows)]
    known = {name for found in listed if found is not None for name in found}
    order = tuple(names) or tuple(sorted(known, key=_by_number if all(map(str.isdecimal, known)) else None))
    if unknown := known - set(order):
        raise UsageError(f"{where}: column {column!r} has {min(unknown)!r}; expected some of {len(order)} classes")
    if not order:
        raise UsageError(f"{where}: column {column!r} names no class in any row; expected names separated by ';'")
    return Targets(order, [None if found is None else tuple(float(n in found) for n in order) for found in listed])


def _names(value: Any, names: Sequence[str], where: str) -> set[str] | None:
    if value is None or value == "":
        return None
    parts = value.split(SEPARATOR) if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or any(isinstance(part, bool | float | list) for part in parts):
        raise UsageError(f"{where} has {value!r}; expected a list of classes, or names separated by ';'")
    return {_name(part, names, where) for part in parts} - {""}


def _name(part: Any, names: Sequence[str], where: str) -> str:
    if isinstance(part, str):
        return part.strip()
    if not isinstance(part, int) or part < 0 or (names and part >= len(names)):
        raise UsageError(f"{where} has {part!r}; expected a class by name, or by number from 0")
    return names[part] if names else str(part)


def _numbers(kind: TargetKind, columns: Sequence[str], rows: Sequence[Sequence[Any]], where: str) -> Targets:
    found: list[Target] = []
    for row, values in enumerate(rows):
        flat = list(values[0]) if len(values) == 1 and isinstance(values[0], list | tuple) else list(values)
        empty = [value is None or value == "" for value in flat]
        found.append(None if all(empty) else tuple(_number(kind, value, f"{where}: row {row}") for value in flat))
    lengths = {len(target) for target in found if target is not None}
    if len(lengths) != 1:
        raise UsageError(f"{where}: {list(columns)} hold {sorted(lengths)} numbers; expected as many in every row")
    (length,) = lengths
    names = columns if length == len(columns) else [f"{columns[0]}[{place}]" for place in range(length)]
    return Targets(tuple(names), found)


def _number(kind: TargetKind, value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (kind == "multilabel" and number not in (0, 1)):
        expected = "0 or 1" if kind == "multilabel" else "a finite number"
        raise UsageError(f"{where} has {value!r}; expected {expected}, or all columns empty where nothing is known")
    return number


def _by_number(name: str) -> tuple[int, str]:
    return int(name), name
