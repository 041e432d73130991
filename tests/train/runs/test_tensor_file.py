"""A file of tensors: what was written comes back by rows, and a changed bit is found by whoever reads it in order."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from icecore.store import IntegrityError
from icecore.train.runs.tensor_file import CHECKSUMS, TensorFile, TensorSpec, TensorWriter


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "labels": torch.randint(9, (7,), generator=generator),
        "none": torch.empty(0, 5, dtype=torch.float64),
        "table": torch.randn(7, 3, generator=generator).half(),
        "right": torch.tensor([[[1], [0]], [[0], [1]]], dtype=torch.uint8),
    }


@pytest.fixture
def path(tensors: dict[str, Tensor], tmp_path: Path) -> Path:
    with (tmp_path / "tensors.safetensors").open("wb") as file:
        writer = TensorWriter(file, {name: TensorSpec.of(tensor) for name, tensor in tensors.items()})
        for name, tensor in tensors.items():
            for rows in tensor.split(3):
                writer.write(name, rows)
        writer.finish()
    return Path(file.name)


def test_rows_come_back_in_any_order(path: Path, tensors: dict[str, Tensor]) -> None:
    file = TensorFile(path)
    for name, tensor in tensors.items():
        assert torch.equal(file.read(name), tensor)
    assert torch.equal(file.read("table", 5), tensors["table"][5:])
    assert torch.equal(file.read("table", 2, 4), tensors["table"][2:4])


def test_it_is_a_safetensors_file(path: Path, tensors: dict[str, Tensor]) -> None:
    found = load_file(path)
    assert found.keys() == {*tensors, CHECKSUMS}
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def read_in_order(path: Path, tensors: dict[str, Tensor]) -> None:
    file = TensorFile(path)
    for name, tensor in tensors.items():
        for start in range(0, max(1, len(tensor)), 4):
            file.read(name, start, min(start + 4, len(tensor)))


def test_every_changed_byte_is_found_by_reading_in_order(path: Path, tensors: dict[str, Tensor]) -> None:
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(IntegrityError, match="is not what was written"):
            read_in_order(path, tensors)


def test_a_file_that_was_cut_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match="is not what was written"):
            TensorFile(path)
