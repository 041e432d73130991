"""What the label columns of a source hold, as it was read: texts, numbers, booleans, lists, nothing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from icecore.store import UsageError

from ..files.tally import Tally


class Unknown(Enum):
    """What stands for a value that the user calls unknown: something is asked and the answer is not known."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Cells:
    """The values of some columns in every row, and where an error says that the rows are."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    where: str
    place: Callable[[int], str]  # of a row, by its number: file and line
    numeric_texts: bool = True  # texts that say numbers are numbers: in what has no types, as CSV

    def refuse(self, row: int, value: object, expected: str) -> UsageError:
        """Return the error about a value of a row."""
        column = f" in column {self.columns[0]!r}" if len(self.columns) == 1 else ""
        return UsageError(f"{self.place(row)} has {value!r}{column}; expected {expected}")

    def marked(self, unknown: Sequence[str], tally: Tally) -> "Cells":
        """Return the cells with UNKNOWN for every value that is one of `unknown`; UsageError where none is."""
        if not unknown:
            return self
        rows = [tuple(_marked(value, unknown) for value in row) for row in self.rows]
        given, count = f"--unknown {','.join(unknown)}", sum(_count(value) for row in rows for value in row)
        if not count:
            raise UsageError(f"{self.where}: {given}: no value of {', '.join(self.columns)} is that; leave it out")
        tally.note(f"values read as not known ({given})", ", ".join(self.columns), count)
        return replace(self, rows=rows)


def is_nothing(value: Any) -> bool:
    """Say whether a value stands for no label: None, an empty text, or NaN."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def whole(value: Any) -> Any:
    """Return an int for a number that is whole, such as the 1.0 of a column with gaps; any other value as it is."""
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def number_in(value: Any) -> float | None:
    """Return the number that a value is, or that a text says; None where it is no finite number."""
    if isinstance(value, str) and "_" in value:  # Python's own way to write numbers, and a name to anybody else
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
    same = (str(value).strip() == one or (number is not None and number == number_in(one)) for one in unknown)
    return UNKNOWN if any(same) else value


def _count(value: Any) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else int(value is UNKNOWN)
