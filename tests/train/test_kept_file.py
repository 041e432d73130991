"""The kept predictions of a RUN: what is written is what is read, in this layout and in the one before it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from icecore.train.kept_file import FILE, OLD_FILE, read_predictions, write_predictions

ROWS = np.array([3, 5, 8, 9, 11])


def tables(num_adapters: int = 3, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"adapter-{place}": torch.rand(5, 4, generator=generator).to(dtype) for place in range(num_adapters)}


def assert_same(found: tuple[dict[str, Tensor], Tensor, Tensor], wanted: dict[str, Tensor], labels: Tensor) -> None:
    predictions, rows, truth = found
    assert list(predictions) == list(wanted)
    assert all(torch.equal(predictions[key], table) for key, table in wanted.items())
    assert rows.tolist() == ROWS.tolist()
    assert torch.equal(truth, labels)


LABELS = [torch.tensor([0, 3, 1, 1, 2]), torch.linspace(-1e5, 1e5, 20).view(5, 4)]


@pytest.mark.parametrize("labels", LABELS, ids=["classes", "numbers"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_what_is_written_is_read(labels: Tensor, dtype: torch.dtype, tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        write_predictions(file, tables(dtype=dtype), ROWS, labels)
    assert_same(read_predictions(str(tmp_path)), tables(dtype=dtype), labels)


def test_no_adapter_is_no_table(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        write_predictions(file, {}, ROWS, LABELS[0])
    assert_same(read_predictions(str(tmp_path)), {}, LABELS[0])


@pytest.mark.parametrize("labels", LABELS, ids=["classes", "numbers"])
def test_the_parquet_of_earlier_versions_is_read(labels: Tensor, tmp_path: Path) -> None:
    rows = [
        {"adapter_id": key, "row": row, "predictions": said, "label": label}
        for key, table in tables().items()
        for row, said, label in zip(ROWS.tolist(), table.numpy(), labels.tolist(), strict=True)
    ]
    truth = pa.int64() if labels.ndim == 1 else pa.list_(pa.float32())
    said = ("predictions", pa.list_(pa.float16()))
    schema = pa.schema([("adapter_id", pa.string()), ("row", pa.int64()), said, ("label", truth)])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / OLD_FILE)
    assert_same(read_predictions(str(tmp_path)), tables(), labels)
