"""The most memory that something takes."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch

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
