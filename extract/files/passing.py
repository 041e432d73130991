"""What fails for a passing reason (a file server, memory): tried again a few times, and then no fault of the input.

Knows nothing of images: whether an input is bad is said by whoever decodes it.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import torch

from icecore.store import IcecoreError

T = TypeVar("T")

DELAYS_SECONDS = (0.5, 1.0, 2.0)  # before the second, third and last try
LACKING = ("out of memory", "allocate memory", "can't start new thread", "cuda error")  # as libraries say it


class PassingError(IcecoreError):
    """Something that may go well another time: nothing is recorded of it, and the same command goes on."""


class AbsentError(Exception):
    """A sample that a source lists and that is not there: raised by a source's `read`, and no passing failure."""


def persistently(action: Callable[[], T], what: str, is_passing: Callable[[Exception], bool]) -> T:
    """Return what an action returns, tried again after a while where it fails for a passing reason.

    Raises:
        PassingError: the last try failed so too; it names `what` failed and why. Any other exception is the action's.
    """
    for delay in (*DELAYS_SECONDS, None):
        try:
            return action()
        except Exception as error:
            if not is_passing(error):
                raise
            if delay is None:
                tries = len(DELAYS_SECONDS) + 1
                raise PassingError(f"{what}: still fails after {tries} tries ({in_words(error)})") from error
            time.sleep(delay)
    raise AssertionError("unreachable")


def is_passing(error: BaseException) -> bool:
    """Say whether the system failed, not the input: a system call, a connection, memory, a device."""
    if isinstance(error, OSError):  # of Pillow's, which are about the bytes, none has a number
        return error.errno is not None or isinstance(error, TimeoutError | ConnectionError) or _lacks(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or _lacks(error)


def in_words(error: BaseException) -> str:
    """Return an exception in one line, its type first."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _lacks(error: BaseException) -> bool:
    return isinstance(error, OSError | RuntimeError) and any(sign in str(error).lower() for sign in LACKING)
