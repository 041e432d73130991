"""Reads targets other than one class: 0 or 1 for every class (multilabel), or numbers (regression)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icecore.store import UsageError

from ..files.tally import Tally
from .cells import UNKNOWN, Cells, is_nothing, number_in, whole
from .class_names import normal, one_spelling
from .columns import TargetKind

Target = tuple[float | None, ...] | None  # one number a class or output; None within a target: not known
SEPARATORS = (";", "|", ",")
BRACKETS = ("[]", "()", "{}")
BOOLEANS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Targets:
    """The target of each row, None where a row has none; `names` names the numbers of a target."""

    names: tuple[str, ...]
    of_rows: list[Target]


def read_targets(
    kind: TargetKind, cells: Cells, tally: Tally, names: Sequence[str] = (), separator: str | None = None
) -> Targets:
    """Return the targets of all rows.

    Several columns hold a number each: for `multilabel` 0 or 1, or true or false. One column holds a number or a list;
    for `multilabel` a list of class names or numbers, or names in one text. A row whose values are all empty or not
    known has no target.

    Args:
        kind: `multilabel` or `regression`.
        cells: the values of the label columns.
        tally: notes how values are read.
        names: the names of the classes or outputs, where the source gives them.
        separator: separates names in one text; None detects `;`, `|` or a comma.

    Raises:
        UsageError: a value cannot be read, with its row.
    """
    if kind == "multilabel" and len(cells.columns) == 1 and not _holds_flags(cells):
        return _named(cells, _parts(cells, separator, tally), names, tally)
    return _numbers(kind, cells, names)


def as_number(name: str) -> tuple[int, str]:
    """Return a sort key by which names of digits sort as numbers."""
    return int(name), name


def _holds_flags(cells: Cells) -> bool:
    """Return whether one column lists true or false for every class (or also 0 and 1, where some are unknown)."""
    listed = [value for (value,) in cells.rows if isinstance(value, list | tuple)]
    parts = [whole(part) for value in listed for part in value]
    has_flags = any(isinstance(part, bool) or part is UNKNOWN for part in parts)
    return has_flags and all(isinstance(part, bool) or part is UNKNOWN or part in (0, 1) for part in parts)


def _parts(cells: Cells, separator: str | None, tally: Tally) -> list[Any]:
    """Return the list of names or numbers of each row; None where it has none."""
    texts = {row: value for row, (value,) in enumerate(cells.rows) if isinstance(value, str)}
    for row, text in texts.items():
        if text[:1] + text[-1:] in BRACKETS:
            raise cells.refuse(row, text, "names parted by ';', not a list as a program prints it")
    sign = _separator(cells, texts, separator)
    split = (
        {row: text.split(sign) for row, text in texts.items()} if sign else {row: [text] for row, text in texts.items()}
    )
    for row, parts in split.items():
        if len(parts) > 1:
            tally.note(f"cells with several classes, parted by {sign!r}", texts[row])
    return [
        None if value is UNKNOWN or is_nothing(value) else split.get(row, value)
        for row, (value,) in enumerate(cells.rows)
    ]


def _separator(cells: Cells, texts: dict[int, str], given: str | None) -> str | None:
    """Return the separator of classes in one text: the given one, or the one of `;`, `|` and comma that occurs.

    Where `;` occurs, the other two are parts of names.
    """
    if given is not None:
        if not given or not any(given in text for text in texts.values()):
            raise UsageError(
                f"{cells.where}: --separator {given!r} is in no cell of {cells.columns[0]!r}; leave it out"
            )
        return given
    found = {sign: text for sign in SEPARATORS for text in texts.values() if sign in text}
    if len(found) > 1 and ";" not in found:
        (first, second) = found
        raise UsageError(
            f"{cells.where}: column {cells.columns[0]!r} has {found[first]!r} and {found[second]!r}; say which sign "
            f"parts classes: --separator '{first}' or '{second}'"
        )
    return next(iter(found), None)


def _named(cells: Cells, listed: Sequence[Any], names: Sequence[str], tally: Tally) -> Targets:
    rows = [None if parts is None else _names(cells, row, parts, names) for row, parts in enumerate(listed)]
    flat = one_spelling([name for found in rows if found is not None for name in found], tally)
    spelt = iter(flat)
    rows = [None if found is None else {next(spelt) for _ in found} for found in rows]
    known, column = set(flat), cells.columns[0]
    order = tuple(names) or tuple(sorted(known, key=as_number if all(map(str.isdecimal, known)) else None))
    number = {normal(name): label for label, name in enumerate(order)}
    if unknown := {name for name in known if normal(name) not in number}:
        raise UsageError(
            f"{cells.where}: column {column!r} has {min(unknown)!r}; expected some of {len(order)} classes"
        )
    if not order:
        raise UsageError(f"{cells.where}: column {column!r} names no class in any row; expected names parted by ';'")
    return Targets(order, [None if found is None else _flags(found, number, len(order)) for found in rows])


def _flags(found: set[str], number: dict[str, int], length: int) -> Target:
    labels = {number[normal(name)] for name in found}
    return tuple(float(label in labels) for label in range(length))


def _names(cells: Cells, row: int, parts: Any, names: Sequence[str]) -> list[str]:
    """Return the names of the classes that a row lists."""
    if not isinstance(parts, list | tuple):
        raise cells.refuse(row, parts, "a list of classes, or names in one text, parted by ';'")
    return [name for part in parts if (name := _name(cells, row, whole(part), names))]


def _name(cells: Cells, row: int, part: Any, names: Sequence[str]) -> str:
    if isinstance(part, str):
        return part.strip()
    if isinstance(part, bool) or not isinstance(part, int) or part < 0 or (names and part >= len(names)):
        raise cells.refuse(row, part, "a class by name, or by number from 0")
    return names[part] if names else str(part)


def _numbers(kind: TargetKind, cells: Cells, names: Sequence[str]) -> Targets:
    found = [_target(kind, cells, row, values) for row, values in enumerate(cells.rows)]
    lengths = {len(target) for target in found if target is not None}
    if len(lengths) != 1:
        raise UsageError(
            f"{cells.where}: {list(cells.columns)} hold {sorted(lengths)} numbers; expected as many in every row"
        )
    (length,) = lengths
    columns = cells.columns
    told = columns if length == len(columns) else [f"{columns[0]}[{place}]" for place in range(length)]
    return Targets(tuple(names) if len(names) == length else tuple(told), found)


def _target(kind: TargetKind, cells: Cells, row: int, values: Sequence[Any]) -> Target:
    """Return the target of a row; None where no value is known, and in a regression where one is not known."""
    flat = values[0] if len(values) == 1 and isinstance(values[0], list | tuple) else values
    if all(value is UNKNOWN or is_nothing(value) for value in flat):
        return None
    target = tuple(None if value is UNKNOWN else _number(kind, cells, row, value) for value in flat)
    return None if kind == "regression" and None in target else target


def _number(kind: TargetKind, cells: Cells, row: int, value: Any) -> float:
    if kind == "multilabel" and isinstance(value, str):
        value = BOOLEANS.get(value.lower(), value)
    number = number_in(value)
    if number is None or (kind == "multilabel" and number not in (0, 1)):
        expected = "0 or 1 (true or false)" if kind == "multilabel" else "a finite number"
        raise cells.refuse(
            row,
            value,
            f"{expected}, all columns empty where nothing is known, or --unknown {value} where that means it",
        )
    return number
