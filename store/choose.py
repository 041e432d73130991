"""Look up a plug-in by name, with a helpful error where the name is wrong."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from .errors import UsageError

T = TypeVar("T")


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """Return `table[name]`; `what` says in words what the table holds, for the error.

    Raises:
        UsageError: the table has no such name; the message names the nearest one and lists all.

    Example:
        >>> choose({"linear": 1, "ridge": 2}, "rigde", "adapter")
        Traceback (most recent call last):
        icecore.store.errors.UsageError: unknown adapter 'rigde' (did you mean 'ridge'?); choices: linear, ridge
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise UsageError(f"unknown {what} {name!r}{hint}; choices: {', '.join(table) or 'none'}")
