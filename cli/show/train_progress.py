"""The progress of a sweep on a terminal; silent elsewhere."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .terminal import notes

if TYPE_CHECKING:
    from icecore.train import Progress as State


@contextlib.contextmanager
def train_progress(watch: Callable[["State"], None] | None = None) -> Iterator[Callable[["State"], None]]:
    """Show a bar while the context lasts; the value is what `train` calls as it goes, and calls `watch` with it."""
    console = notes()
    columns = (
        TextColumn("train  "),
        BarColumn(complete_style="cyan"),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("train", total=None, note="reading the store")

        def show(state: "State") -> None:
            if watch is not None:
                watch(state)
            bar.update(task, completed=state.done, total=state.total, note=_note(state))

        yield show


def _note(state: "State") -> str:
    layers = ", ".join(map(str, state.layers))
    return f"layer {layers}, {state.done / max(state.elapsed_seconds, 1e-9):.0f} adapter epochs/s"
