"""Ctrl-C ends a command with one line instead of a traceback."""

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
    """On Ctrl-C print `advice`, what is kept and how to resume, and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"\nicecore: interrupted; {advice}\n")
        raise typer.Exit(INTERRUPTED) from None


@contextlib.contextmanager
def stopping(how: str) -> Iterator[None]:
    """On the first Ctrl-C print `how` the command stops; on the second end the process at once."""

    def at_once(_: int, __: FrameType | None) -> None:
        os._exit(INTERRUPTED)

    def first(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, at_once)
        sys.stderr.write(f"\nicecore: stopping: {how}; Ctrl-C again stops at once\n")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, first)
    yield
    signal.signal(signal.SIGINT, before)  # not after the first: the second may come at any time until the end
