"""The progress of extraction, training and in-backbone training on a terminal; silent where there is no terminal."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from .terminal import notes
from .wording import layers_in_words, size

if TYPE_CHECKING:
    from icecore.extract import Progress as ExtractState
    from icecore.live import FinetuneProgress
    from icecore.train import Progress as TrainState

Update = Callable[[int, int, str], None]  # steps done, steps in all, a note


@contextlib.contextmanager
def extract_progress() -> Iterator[Callable[["ExtractState"], None]]:
    """Show a bar of images while the context lasts; yield the callback for `extract`."""
    with _bar("extract", MofNCompleteColumn(), note="loading the backbone") as update:
        yield lambda state: update(state.num_done, state.num_rows, _extract_note(state))


@contextlib.contextmanager
def train_progress(watch: Callable[["TrainState"], None] | None = None) -> Iterator[Callable[["TrainState"], None]]:
    """Show a bar of adapter epochs while the context lasts; yield the callback for `train`, which calls `watch` too."""
    with _bar("train  ", TextColumn("{task.percentage:3.0f} %"), note="reading the store") as update:

        def show(state: "TrainState") -> None:
            if watch is not None:
                watch(state)
            update(state.done, state.total, _train_note(state))

        yield show


@contextlib.contextmanager
def finetune_progress(command: str) -> Iterator[Callable[["FinetuneProgress"], None]]:
    """Show a bar of epochs while the context lasts; yield the callback for `compare` and `intrinsic_dimension`."""
    with _bar(command, MofNCompleteColumn(), note="reading images") as update:
        yield lambda state: update(state.done, state.total, state.training)


@contextlib.contextmanager
def _bar(title: str, count: ProgressColumn, note: str) -> Iterator[Update]:
    console = notes()
    columns = (
        TextColumn(title),
        BarColumn(complete_style="cyan"),
        count,
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=None, note=note)
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


def _extract_note(state: "ExtractState") -> str:
    parts = [f"{state.rows_per_second:.0f} images/s", size(state.num_bytes)]
    if state.num_skipped:
        parts.append(f"{state.num_skipped} were there")
    if state.num_failed:
        parts.append(f"{state.num_failed} failed")
    return ", ".join(parts)


def _train_note(state: "TrainState") -> str:
    rate = state.done / max(state.elapsed_seconds, 1e-9)
    return f"layer {layers_in_words(state.layers)}, {rate:.0f} adapter epochs/s"
