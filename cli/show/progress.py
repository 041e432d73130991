"""Progress bars of extractions and trainings on a terminal; elsewhere nothing is printed."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from .terminal import notes
from .wording import layers_in_words, size

if TYPE_CHECKING:
    from icecore.extract import Progress as ExtractProgress
    from icecore.train import Progress as TrainProgress

Update = Callable[[int, int, str], None]  # done, total, note


@contextlib.contextmanager
def extract_progress() -> Iterator[Callable[["ExtractProgress"], None]]:
    """Show a bar while the context lasts; the value is a callback for `extract`, which calls it after each batch."""
    with _bar("extract", MofNCompleteColumn(), "loading the backbone") as update:
        yield lambda state: update(state.num_done, state.num_rows, _extract_note(state))


@contextlib.contextmanager
def train_progress(
    watch: Callable[["TrainProgress"], None] | None = None,
) -> Iterator[Callable[["TrainProgress"], None]]:
    """Show a bar while the context lasts; the value is a callback for `train`, which also calls `watch`."""
    with _bar("train  ", TextColumn("{task.percentage:3.0f} %"), "reading the store") as update:

        def show(state: "TrainProgress") -> None:
            if watch is not None:
                watch(state)
            update(state.done, state.total, _train_note(state))

        yield show


@contextlib.contextmanager
def _bar(title: str, count: ProgressColumn, first_note: str) -> Iterator[Update]:
    console = notes()
    columns = (
        TextColumn(title),
        BarColumn(complete_style="cyan"),
        count,
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=None, note=first_note)
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


def _extract_note(state: "ExtractProgress") -> str:
    parts = [f"{state.rows_per_second:.0f} images/s", size(state.num_bytes)]
    if state.num_skipped:
        parts.append(f"{state.num_skipped} were there")
    if state.num_failed:
        parts.append(f"{state.num_failed} failed")
    return ", ".join(parts)


def _train_note(state: "TrainProgress") -> str:
    rate = state.done / max(state.elapsed_seconds, 1e-9)
    return f"layer {layers_in_words(state.layers)}, {rate:.0f} adapter epochs/s"
