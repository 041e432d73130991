"""The kept predictions of a RUN: what is written is what is read, in this layout and in the one before it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

import icecore.train.runs.prediction_tables as tables_module
from icecore.train.runs.validation_file import FILE, OLD_FILE, read_predictions, write_predictions
from icecore.train.targets import TARGETS
from icecore.train.targets.target import Target

ROWS = np.array([3, 5, 8, 9, 11])


def tables(num_adapters: int = 3, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"adapter-{place}": torch.rand(5, 4, generator=generator).to(dtype) for place in range(num_adapters)}


def assert_same(run: Path, wanted: dict[str, Tensor], labels: Tensor, target: Target) -> None:
    """What a RUN holds is what was written: read by blocks, with all that losses and scores depend on."""
    found = read_predictions(str(run), target)
    assert found.tables.names == tuple(wanted)
    assert found.rows.tolist() == ROWS.tolist()
    assert torch.equal(found.labels, labels)
    if wanted:
        values = torch.stack(list(wanted.values()))
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        blocks = torch.cat([tables.clone() for _, _, tables in found.tables.blocks()], 1)
        assert torch.equal(blocks, values)
        assert torch.equal(found.loss_terms, target.loss_terms(values, labels))
        scores = target.scores(target.verdicts(values, labels), labels)
        assert torch.equal(target.scores(found.verdicts, labels), scores)


CLASSES, NUMBERS = torch.tensor([0, 3, 1, 1, 2]), torch.linspace(-1, 1, 20).view(5, 4)
CASES = [("class", CLASSES, dtype) for dtype in (torch.float16, torch.float32)]
CASES += [("regression", NUMBERS.double(), dtype) for dtype in (torch.float32, torch.float64)]


@pytest.mark.parametrize(("name", "labels", "dtype"), CASES)
def test_what_is_written_is_read(
    name: str, labels: Tensor, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_module, "BLOCK_BYTES", 100)  # so that there are several blocks
    target = TARGETS[name]().fitted(labels)
    with (tmp_path / FILE).open("wb") as file:
        write_predictions(file, tables(dtype=dtype), ROWS, labels, target)
    assert_same(tmp_path, tables(dtype=dtype), labels, target)


def test_no_adapter_is_no_table(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        write_predictions(file, {}, ROWS, CLASSES, TARGETS["class"]())
    assert_same(tmp_path, {}, CLASSES, TARGETS["class"]())


@pytest.mark.parametrize(("name", "labels"), [("class", CLASSES), ("regression", NUMBERS)])
def test_the_parquet_of_earlier_versions_is_read(name: str, labels: Tensor, tmp_path: Path) -> None:
    rows = [
        {"adapter_id": key, "row": row, "predictions": said, "label": label}
        for key, table in tables().items()
        for row, said, label in zip(ROWS.tolist(), table.numpy(), labels.tolist(), strict=True)
    ]
    truth = pa.int64() if labels.ndim == 1 else pa.list_(pa.float32())
    said = ("predictions", pa.list_(pa.float16()))
    schema = pa.schema([("adapter_id", pa.string()), ("row", pa.int64()), said, ("label", truth)])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / OLD_FILE)
    target = TARGETS[name]().fitted(labels)  # numbers were kept in the data set's unit
    wanted = {key: target.standardised(table).float() for key, table in tables().items()}
    assert_same(tmp_path, wanted, target.standardised(labels), target)
