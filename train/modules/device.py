"""How training computes on its device: deterministic results, sums in float64, and the peak of memory."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor


def with_float64(tensor: Tensor) -> Tensor:
    """Return a tensor on a device that has float64: an MPS tensor moves to the CPU, any other stays."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Make CUDA use deterministic algorithms within the context, and warn where it has none; a CPU is deterministic."""
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
    """Move labels to a device; float64 labels become float32 on MPS, which has no float64."""
    return (labels.float() if device.type == "mps" and labels.is_floating_point() else labels).to(device)


RESET = "5"  # written to clear_refs, it makes Linux reset the peak of resident memory


class Peak:
    """A peak of memory; `measure_peak` sets `num_bytes` at its end, and leaves None where the system has no figure."""

    num_bytes: int | None = None


@contextlib.contextmanager
def measure_peak(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of PyTorch's memory on CUDA, or of the resident memory of the process on any other device."""
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
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) * 1024 if match else None
