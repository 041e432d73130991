"""Reads one class a row from a column of names, whole numbers or booleans; knows nothing of file formats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icecore.store import UsageError

from ..files.tally import Tally
from .cells import UNKNOWN, Cells, is_nothing, number_in, whole
from .class_names import normal, one_spelling
from .columns import Columns
from .targets import Target, as_number, read_targets

CLASSES = "a class: a name, a whole number, or true or false; for several of them --target multilabel"
NUMBERS = f"{CLASSES}; for numbers --target regression"
NOTHING = frozenset({"nan", "none", "null", "na", "n/a", "<na>"})  # in lower case; texts that hardly name a class
BOOLEANS = ("False", "True")


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels or targets of all rows; `classes` names the classes, or the numbers of a target."""

    classes: tuple[str, ...]
    labels: Sequence[int | None]
    targets: Sequence[Target]


def read_labels(cells: Cells, columns: Columns, tally: Tally, known: Sequence[str] = ()) -> Labels:
    """Return the labels or targets that the label columns give for `columns.target`.

    A column of classes holds names, whole numbers or booleans. Whole numbers are class numbers where at least half of
    those up to the largest occur (a class is then named by its number), otherwise names. An empty value, NaN, and -1
    among numbers mean that the row has no class.

    Args:
        cells: the values of the label columns.
        columns: the kind of target, the separator, and the values that mean "not known".
        tally: notes how values are read.
        known: the names of the classes by number, where the source gives them.

    Raises:
        UsageError: a value cannot be read, with its row; or an option does not apply to the target.
    """
    cells = cells.marked(columns.unknown, tally)
    if columns.separator is not None and (columns.target != "multilabel" or len(cells.columns) > 1):
        raise UsageError(f"{cells.where}: --separator is for --target multilabel with one column; leave it out")
    if columns.target != "class":
        found = read_targets(columns.target, cells, tally, known, columns.separator)
        return Labels(found.names, [None] * len(cells.rows), found.of_rows)
    if len(cells.columns) > 1:
        raise UsageError(f"{cells.where}: {len(cells.columns)} label columns for one class; choose --target")
    values = [_value(cells, row, value) for row, (value,) in enumerate(cells.rows)]
    classes, labels = _by_number(cells, values, known, tally) if known else _classes(cells, values, tally)
    return Labels(classes, labels, [None] * len(labels))


def _value(cells: Cells, row: int, value: Any) -> str | int | None:
    """Return a value as text, whole number, boolean or None (no class); a list of one element is its element."""
    if isinstance(value, list | tuple) and len(value) == 1:
        return _value(cells, row, value[0])
    value = whole(value)
    if value is UNKNOWN or is_nothing(value):
        return None
    if not isinstance(value, str | int):
        raise cells.refuse(row, value, NUMBERS if number_in(value) is not None else CLASSES)
    return value


def _by_number(
    cells: Cells, values: Sequence[str | int | None], known: Sequence[str], tally: Tally
) -> tuple[tuple[str, ...], list[int | None]]:
    """Return the label of each row, given by number or by name, among the known classes."""
    number = {normal(name): label for label, name in enumerate(known)}
    found = [number.get(normal(value), value) if isinstance(value, str) else value for value in values]
    labels = _without_minus_one(found, tally)
    for row, label in enumerate(labels):
        if label is not None and (isinstance(label, str | bool) or not 0 <= label < len(known)):
            raise cells.refuse(row, cells.rows[row][0], f"one of {len(known)} classes, by number from 0 or by name")
    return tuple(known), labels


def _classes(
    cells: Cells, values: Sequence[str | int | None], tally: Tally
) -> tuple[tuple[str, ...], list[int | None]]:
    """Return the classes that occur in the values, and the label of each row."""
    kinds = {type(value): row for row, value in reversed(list(enumerate(values))) if value is not None}
    if bool in kinds and len(kinds) > 1:
        row = next(index for kind, index in kinds.items() if kind is not bool)
        raise cells.refuse(row, values[row], f"true or false, as {cells.place(kinds[bool])} has")
    if set(kinds) == {bool}:
        return BOOLEANS, [None if value is None else int(value) for value in values]
    if set(kinds) == {int}:
        return _numbered(cells, values, tally)
    texts = _spelt([None if value is None else str(value) for value in values], cells, tally)
    found = {text for text in texts if text is not None}
    names = tuple(sorted(found, key=as_number if cells.numeric_texts and all(map(str.isdecimal, found)) else None))
    _note_doubtful(texts, names, tally)
    label = {name: index for index, name in enumerate(names)}
    return names, [None if text is None else label[text] for text in texts]


def _numbered(cells: Cells, values: Sequence[Any], tally: Tally) -> tuple[tuple[str, ...], list[int | None]]:
    """Return classes named by their numbers: all up to the largest where half of them occur, else those that occur."""
    labels = _without_minus_one(values, tally)
    for row, value in enumerate(labels):
        if value is not None and value < 0:
            raise cells.refuse(row, value, "a class number from 0, or -1 for none")
    found = sorted({value for value in labels if value is not None})
    top = found[-1] + 1 if found else 0
    if top <= 2 * len(found):
        return tuple(map(str, range(top))), list(labels)
    tally.note("class numbers with gaps, read as names", str(found[-1]), len(found))
    label = {value: index for index, value in enumerate(found)}
    return tuple(map(str, found)), [None if value is None else label[value] for value in labels]


def _without_minus_one(values: Sequence[Any], tally: Tally) -> list[Any]:
    count = sum(value == -1 for value in values)
    if count:
        tally.note("labels of -1, read as no class", "-1", count)
    return [None if value == -1 else value for value in values]


def _spelt(texts: Sequence[str | None], cells: Cells, tally: Tally) -> list[str | None]:
    """Return the texts with one spelling a class; among numbers as texts NaN is None, and fractions are refused."""
    numbers = {text: number_in(text) for text in set(texts) if text is not None and text.lower() not in NOTHING}
    if cells.numeric_texts and numbers and None not in numbers.values():
        _check_numbers(numbers, texts, cells)
        texts = [text if text in numbers else None for text in texts]
    known = [text for text in texts if text is not None]
    spelt = iter(one_spelling(known, tally))
    return [None if text is None else next(spelt) for text in texts]


def _check_numbers(numbers: dict[str, float | None], texts: Sequence[str | None], cells: Cells) -> None:
    spelt: dict[float | None, str] = {}
    for text, number in sorted(numbers.items()):
        if number is not None and number != int(number):
            raise cells.refuse(texts.index(text), text, NUMBERS)
        if number in spelt:
            raise cells.refuse(texts.index(text), text, f"one spelling of a number; {spelt[number]!r} is it too")
        spelt[number] = text


def _note_doubtful(texts: Sequence[str | None], names: Sequence[str], tally: Tally) -> None:
    """Note classes whose name may mean "no class" or several classes."""
    doubtful = {
        name: "rows of a class whose name may mean none (--unknown)"
        for name in names
        if name.lower() in {*NOTHING, "-1"}
    }
    for name in names:
        if any(separator in name and set(name.split(separator)) <= set(names) for separator in ";|,"):
            doubtful[name] = "rows of a class whose name may mean several (--target multilabel)"
    for text in texts if doubtful else ():
        if text in doubtful:
            tally.note(doubtful[text], text)
