"""How stage two computes where it does: the same bits every time, and sums in float64."""

import contextlib
import os
from collections.abc import Iterator

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
