"""The progress of an extraction on a terminal; silent elsewhere."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .terminal import notes
from .wording import size

if TYPE_CHECKING:
    from icecore.extract import Progress as State


@contextlib.contextmanager
def extract_progress() -> Iterator[Callable[["State"], None]]:
    """Show a bar while the context lasts; the value is what `extract` calls after each batch."""
    console = notes()
    columns = (
        TextColumn("extract"),
        BarColumn(complete_style="cyan"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("extract", total=None, note="loading the backbone")

        def show(state: "State") -> None:
            bar.update(task, completed=state.num_done, total=state.num_rows, note=_note(state))

        yield show


def _note(state: "State") -> str:
    parts = [f"{state.rows_per_second:.0f} images/s", size(state.num_bytes)]
    if state.num_skipped:
        parts.append(f"{state.num_skipped} were there")
    if state.num_failed:
        parts.append(f"{state.num_failed} failed")
    return ", ".join(parts)
