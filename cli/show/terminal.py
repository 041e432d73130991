"""Output of the command: results on standard output, notes on standard error, plain text without a terminal."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

PLAIN_WIDTH = 1000  # wide enough that a pipe or a log never sees a wrapped or shortened line


def output() -> Console:
    """The console of results."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def notes() -> Console:
    """The console of progress and notes."""
    return Console(stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH)


def print_line(text: str) -> None:
    """Print a line as it is, tabs and brackets included."""
    sys.stdout.write(f"{text}\n")


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print a result for another program, in UTF-8 or, on a stream of fewer characters, escaped."""
    is_narrow = "utf" not in (sys.stdout.encoding or "utf").lower()
    print_line(json.dumps(value, indent=indent, ensure_ascii=is_narrow))


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print name and value, a line each."""
    console, width = output(), max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        console.print(Text.assemble((name.ljust(width), "dim"), "  ", value))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], chosen: int | None = None) -> None:
    """Print rows under column names, all flush right; the chosen row stands out."""
    console = output()
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for place, cells in enumerate((columns, *rows), start=-1):
        line = "   ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        console.print(Text(line, style="dim" if place < 0 else "bold cyan" if place == chosen else ""))
