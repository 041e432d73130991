"""Work that is stopped before one of its steps on the file system, and does no step after it: as a kill leaves it."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

STEPS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_left: Iterator[int] | None = None


class Stopped(BaseException):
    """The work goes no further."""


def _hook(event: str, given: tuple[Any, ...]) -> None:
    is_step = event in STEPS and (event != "open" or given[2] & WRITING)
    if _left is not None and is_step and next(_left, None) is None:
        raise Stopped


sys.addaudithook(_hook)  # for good: Python has no way to take one away


def stopped_at(step: int, work: Callable[[], object]) -> bool:
    """Do some work up to its step of that number; whether it had so many."""
    global _left
    _left = iter(range(step))
    try:
        work()
    except Stopped:
        return True
    finally:
        _left = None
    return False
