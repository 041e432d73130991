"""Stored arrays on their way to where training computes: one batch ahead on CUDA, as they are on a CPU.

They travel as they are stored, a quarter of float32's bytes or fewer, and are decoded there.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from .window import Window

Parts = dict[int, dict[str, Tensor]]  # stored arrays of some rows, by layer and name


def moved(windows: Iterable[Window], device: torch.device) -> Iterator[Parts]:
    """Yield the arrays of each window on a device."""
    if device.type != "cuda":
        for window in windows:
            yield _each(window, lambda array: array.to(device))
        return
    yield from _ahead(windows, device)


def _ahead(windows: Iterable[Window], device: torch.device) -> Iterator[Parts]:
    """Copy a batch from pinned memory on a stream of its own, while the one before is computed with.

    Pinning copies, so that a window may be overwritten as soon as the next is asked for.
    """
    stream, coming = torch.cuda.Stream(device), None
    for window in windows:
        with torch.cuda.stream(stream):
            parts = _each(window, lambda array: array.pin_memory().to(device, non_blocking=True))
        following = parts, stream.record_event()
        if coming is not None:
            yield _arrived(*coming, device)
        coming = following
    if coming is not None:
        yield _arrived(*coming, device)


def _arrived(parts: Parts, copied: torch.Event, device: torch.device) -> Parts:
    """Let the computing stream wait for a copy, and keep its memory until that stream is done with it."""
    computing = torch.cuda.current_stream(device)
    computing.wait_event(copied)
    for arrays in parts.values():
        for array in arrays.values():
            array.record_stream(computing)
    return parts


def _each(window: Window, move: Callable[[Tensor], Tensor]) -> Parts:
    tables = window.parts.items()
    return {k: {name: move(torch.from_numpy(array)) for name, array in arrays.items()} for k, arrays in tables}
