"""Encoded arrays on their way to the device that trains: one batch ahead on CUDA, at once on any other device.

Arrays travel as the store encodes them, a quarter of the bytes of float32 or fewer, and are decoded on the device.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from .window import Window

Parts = dict[int, dict[str, Tensor]]  # encoded arrays of some rows, by layer and array name


def moved(windows: Iterable[Window], device: torch.device) -> Iterator[Parts]:
    """Yield the arrays of each buffer as tensors on `device`."""
    if device.type != "cuda":
        for window in windows:
            yield _map(window, lambda array: array.to(device))
        return
    yield from _moved_ahead(windows, device)


def _moved_ahead(windows: Iterable[Window], device: torch.device) -> Iterator[Parts]:
    """Copy a batch from pinned memory on a second stream, while the computing stream works on the batch before.

    `pin_memory` copies, so that a buffer may be overwritten as soon as the next is asked for.
    """
    stream, coming = torch.cuda.Stream(device), None
    for window in windows:
        with torch.cuda.stream(stream):
            parts = _map(window, lambda array: array.pin_memory().to(device, non_blocking=True))
        following = parts, stream.record_event()
        if coming is not None:
            yield _arrived(*coming, device)
        coming = following
    if coming is not None:
        yield _arrived(*coming, device)


def _arrived(parts: Parts, copied: torch.Event, device: torch.device) -> Parts:
    """Let the computing stream wait for a copy, and keep the memory until the computing stream is done with it."""
    computing = torch.cuda.current_stream(device)
    computing.wait_event(copied)
    for arrays in parts.values():
        for array in arrays.values():
            array.record_stream(computing)
    return parts


def _map(window: Window, move: Callable[[Tensor], Tensor]) -> Parts:
    tables = window.parts.items()
    return {k: {name: move(torch.from_numpy(array)) for name, array in arrays.items()} for k, arrays in tables}
