"""Retries actions that fail for a temporary reason, such as memory or a file server, and not because of the input.

Knows nothing of images: the decoder decides whether an input is bad.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import torch

from icecore.store import IcecoreError

T = TypeVar("T")

DELAYS_SECONDS = (0.5, 1.0, 2.0)  # before the second, third and last try
LACKING = (
    "out of memory",
    "allocate memory",
    "can't start new thread",
    "cuda error",
)  # in the error messages of libraries


class PassingError(IcecoreError):
    """A temporary failure of the system: no row is recorded as failed, and the same command resumes."""


class AbsentError(Exception):
    """A sample that a source lists but that does not exist; raised by `Source.read`, and never retried."""


def persistently(action: Callable[[], T], what: str, is_passing: Callable[[Exception], bool]) -> T:
    """Return the result of `action`, which is retried three times where it fails for a temporary reason.

    Args:
        action: called until it returns.
        what: names the failed action in the error message.
        is_passing: returns whether an exception is temporary.

    Raises:
        PassingError: all tries failed for a temporary reason. Other exceptions of `action` are raised as they are.
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
    """Return whether the system failed, not the input: a system call, a connection, memory or a device.

    >>> is_passing(MemoryError()), is_passing(ValueError("broken image"))
    (True, False)
    """
    if isinstance(error, OSError):  # those of Pillow, which are about the bytes, have no errno
        return error.errno is not None or isinstance(error, TimeoutError | ConnectionError) or _lacks(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or _lacks(error)


def in_words(error: BaseException) -> str:
    """Return an exception as one line: its type and its message."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _lacks(error: BaseException) -> bool:
    return isinstance(error, OSError | RuntimeError) and any(sign in str(error).lower() for sign in LACKING)
