"""The values of label columns as they were read: texts, numbers, booleans, lists or nothing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from icecore.store import UsageError

from ..files.tally import Tally


class Unknown(Enum):
    """The mark of a value that `--unknown` declares not known."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Cells:
    """The values of some columns in every row, with the names that error messages give to source and rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    where: str
    place: Callable[[int], str]  # names a row in error messages: file and line, by the row's index
    numeric_texts: bool = True  # texts of digits are numbers, as in CSV, which has no types

    def refuse(self, row: int, value: object, expected: str) -> UsageError:
        """Return the error for a value of a row, naming the row, the value, the column and the expected values."""
        column = f" in column {self.columns[0]!r}" if len(self.columns) == 1 else ""
        return UsageError(f"{self.place(row)} has {value!r}{column}; expected {expected}")

    def marked(self, unknown: Sequence[str], tally: Tally) -> "Cells":
        """Return the cells with UNKNOWN in place of every value in `unknown`.

        Raises:
            UsageError: no value is in `unknown`.
        """
        if not unknown:
            return self
        rows = [tuple(_marked(value, unknown) for value in row) for row in self.rows]
        given, count = f"--unknown {','.join(unknown)}", sum(_count(value) for row in rows for value in row)
        if not count:
            raise UsageError(f"{self.where}: {given}: no value of {', '.join(self.columns)} is that; leave it out")
        tally.note(f"values read as not known ({given})", ", ".join(self.columns), count)
        return replace(self, rows=rows)


def is_nothing(value: Any) -> bool:
    """Return whether a value means no label: None, an empty text, or NaN."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def whole(value: Any) -> Any:
    """Return a float of integral value as int (columns with gaps hold 1.0 for 1), any other value unchanged."""
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def number_in(value: Any) -> float | None:
    """Return the number that a value or a text is; None for anything that is no finite number.

    >>> number_in("2.5"), number_in("nan"), number_in("cat")
    (2.5, None, None)
    """
    if isinstance(value, str) and "_" in value:  # float() would read 1_000 as a number
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _marked(value: Any, unknown: Sequence[str]) -> Any:
    if isinstance(value, list | tuple):
        return [_marked(part, unknown) for part in value]
    if is_nothing(value):
        return UNKNOWN if "" in unknown or "nan" in unknown else value
    if isinstance(value, bool | dict):
        return value
    number = number_in(value)
    matches = (str(value).strip() == text or (number is not None and number == number_in(text)) for text in unknown)
    return UNKNOWN if any(matches) else value


def _count(value: Any) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else int(value is UNKNOWN)
