"""How stage two computes on its device: the same bits every time, sums in float64, and the peak of memory."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor


def with_float64(tensor: Tensor) -> Tensor:
    """Return a tensor where it can be summed in float64: Apple's MPS has none, and hands it to the CPU."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Let a device give the same bits every time: a CPU does so by itself, CUDA is slower for it; it warns if not."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


def on_device(labels: Tensor, device: torch.device) -> Tensor:
    """Move labels to where they are trained on; MPS knows no float64."""
    return (labels.float() if device.type == "mps" and labels.is_floating_point() else labels).to(device)


RESET = "5"  # what Linux takes as the wish to measure the peak of resident memory anew


class Peak:
    """`num_bytes` is known after the context ends; None where the system does not tell."""

    num_bytes: int | None = None


@contextlib.contextmanager
def measure_peak(device: torch.device) -> Iterator[Peak]:
    """Measure the device's memory that PyTorch holds, or on the CPU the resident memory of the whole process."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.num_bytes = torch.cuda.max_memory_allocated(device)
        return
    can_reset = _reset()
    yield peak
    peak.num_bytes = _resident() if can_reset else None


def _reset() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text(RESET)
    except OSError:
        return False
    return True


def _resident() -> int | None:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else None
