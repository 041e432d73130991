"""The device and the dtype that a stage computes with: one rule for extraction, training and prediction."""

import os
from contextlib import nullcontext

import torch

from .choose import choose
from .errors import UsageError

DEVICES = ("cuda", "mps", "cpu")  # in the order that `auto` tries them
COMPUTE_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """Return a device by name, such as `cuda:1`; `auto` is a CUDA device, else Apple's MPS, else the CPU.

    Raises:
        UsageError: the name is unknown, or this machine has no usable device of that name.
    """
    if name == "auto":
        return torch.device(next(filter(_is_here, DEVICES)))
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise _unusable(name, str(error).strip().splitlines()[0]) from None
    if device.type not in DEVICES:
        raise _unusable(name, "icecore knows no such device")
    return device


def resolve_compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of matrix products; `auto` is bfloat16 where the device multiplies bfloat16 natively.

    CUDA does from Ampere on, and CPUs with AVX512-BF16 or AMX do. Elsewhere bfloat16 is emulated, slower and less exact
    than float32, so `auto` is float32; on MPS `auto` is always float32.

    Raises:
        UsageError: the name is unknown.

    Example:
        >>> resolve_compute_dtype("bfloat16", torch.device("cpu"))
        torch.bfloat16
    """
    if name != "auto":
        return choose(COMPUTE_DTYPES, name, "compute dtype")
    return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32


def num_usable_cores() -> int:
    """Return the number of CPU cores that this process may use; all cores where the system has no affinity."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_here(kind: str) -> bool:
    return {"cuda": torch.cuda, "mps": torch.backends.mps, "cpu": torch.cpu}[kind].is_available()


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        with nullcontext() if device.index is None else torch.cuda.device(device):  # the query is of the current device
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def _unusable(name: str, reason: str) -> UsageError:
    return UsageError(f"device {name!r}: cannot be used here ({reason}); choose auto, cpu, cuda or mps")
