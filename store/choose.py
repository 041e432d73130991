"""Looking up a plug-in by name."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from .errors import UsageError

T = TypeVar("T")


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """Return `table[name]`, or raise a UsageError that lists the choices and names the nearest."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UsageError(f"unknown {what} {name!r}{hint}; choices: {', '.join(table) or 'none'}")
