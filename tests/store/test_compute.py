"""Where and in what a stage computes: bfloat16 is chosen where a device multiplies it, never where it is emulated."""

import os
from collections.abc import Callable, Mapping

import pytest
import torch

from icecore.store import UsageError, num_usable_cores, resolve_compute_dtype, resolve_device

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))
AVX2_ALONE = {"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_tile": False}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let PyTorch say which devices are here, and what they can."""

    def pretend(
        cuda: bool = False, mps: bool = False, native: bool = True, cpu: Mapping[str, bool] = AVX2_ALONE
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native
        )
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: cpu["avx512_bf16"])
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: cpu["amx_tile"])

    return pretend


@pytest.mark.parametrize(("cuda", "mps", "kind"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_is_the_fastest_device_that_is_here(
    cuda: bool, mps: bool, kind: str, machine: Callable[..., None]
) -> None:
    machine(cuda=cuda, mps=mps)
    assert resolve_device("auto") == torch.device(kind)


@pytest.mark.parametrize("name", ["gpu", "", "cpu:x", "meta", "cuda:99", "mps"])
def test_a_device_that_cannot_be_used_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"device '{name}': cannot be used here \(.*choose auto, cpu, cuda or mps"):
        resolve_device(name)


def test_auto_is_bfloat16_on_cuda_only_where_it_is_not_emulated(machine: Callable[..., None]) -> None:
    machine(cuda=True, native=True)
    assert resolve_compute_dtype("auto", CUDA) == torch.bfloat16
    machine(cuda=True, native=False)  # V100 and T4 say that they support it, and emulate
    assert resolve_compute_dtype("auto", CUDA) == torch.float32


@pytest.mark.parametrize(
    ("able", "dtype"),
    [({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16), ({"amx_tile": True}, torch.bfloat16)],
)
def test_auto_is_bfloat16_on_a_cpu_that_has_instructions_for_it(
    able: Mapping[str, bool], dtype: torch.dtype, machine: Callable[..., None]
) -> None:
    machine(cpu={**AVX2_ALONE, **able})
    assert resolve_compute_dtype("auto", CPU) == dtype


def test_auto_is_float32_on_mps_and_a_name_is_taken_at_its_word(machine: Callable[..., None]) -> None:
    machine(mps=True, cpu={"avx512_bf16": True, "amx_tile": True})
    assert resolve_compute_dtype("auto", MPS) == torch.float32
    assert resolve_compute_dtype("bfloat16", MPS) == torch.bfloat16
    with pytest.raises(UsageError, match="unknown compute dtype 'float16'"):
        resolve_compute_dtype("float16", MPS)


def test_cores_are_those_of_the_process_and_of_the_machine_where_its_system_cannot_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert num_usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert num_usable_cores() == os.cpu_count()
