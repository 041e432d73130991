"""Ctrl-C as an answer, not as a traceback."""

import contextlib
import sys
from collections.abc import Iterator

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
