"""Ctrl-C as an answer, not as a traceback."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import typer

INTERRUPTED = 130


@contextlib.contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """On Ctrl-C say in one line what is kept and how to go on, and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"\nicecore: interrupted; {advice}\n")
        raise typer.Exit(INTERRUPTED) from None


@contextlib.contextmanager
def stopping(how: str) -> Iterator[None]:
    """Say at the first Ctrl-C what is being done about it, and end the process at the second."""

    def at_once(_: int, __: FrameType | None) -> None:
        os._exit(INTERRUPTED)

    def first(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, at_once)
        sys.stderr.write(f"\nicecore: stopping: {how}; Ctrl-C again stops at once\n")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, first)
    yield
    signal.signal(signal.SIGINT, before)  # not after the first: the second may come at any time until the end
