"""The figures are those of scikit-learn where it has them, and of the definition where it does not."""

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score

from icecore.train import train
from icecore.train.targets import get_target
from icecore.train.targets.metrics import average_precision, calibration_error

from ..conftest import FAST, MakeStore


def test_figures_agree_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.softmax(torch.randn(203, 7, generator=generator), 1).half().float()  # with ties
    labels = torch.randint(7, (203,), generator=generator)
    found = get_target("class").metrics(table, labels)
    assert found["top5"] == pytest.approx(top_k_accuracy_score(labels, table.numpy(), k=5, labels=range(7)))
    assert found["mean_per_class"] == pytest.approx(balanced_accuracy_score(labels, table.argmax(1)))
    each = [average_precision_score(labels == label, table[:, label]) for label in range(7)]
    assert found["mean_average_precision"] == pytest.approx(np.mean(each))
    tied = average_precision(torch.full((3, 1), 0.5), torch.tensor([[True], [False], [False]]))
    assert tied.item() == pytest.approx(1 / 3)


def test_calibration_is_the_gap_between_confidence_and_accuracy() -> None:
    confidence = torch.tensor([0.9] * 10 + [0.6] * 10)
    correct = torch.tensor([1.0] * 9 + [0.0] + [1.0] * 2 + [0.0] * 8)
    assert calibration_error(confidence, correct) == pytest.approx(0.5 * 0.0 + 0.5 * 0.4, abs=1e-6)
    nothing = get_target("class").metrics(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert all(math.isnan(value) for value in nothing.values())


def test_a_run_records_the_figures_of_every_adapter(make_store: MakeStore, tmp_path: Path) -> None:
    run = train(make_store(planted=1), str(tmp_path / "r"), FAST.model_copy(update={"layers": "0,1", "epochs": 2}))
    rows = {row["adapter_id"]: row for row in pq.read_table(tmp_path / "r" / "metrics.parquet").to_pylist()}
    assert rows.keys() == run.candidates.keys()
    last = {row["adapter_id"]: row for row in run.results.to_pylist()}
    for adapter_id, row in rows.items():
        assert row["top1"] == last[adapter_id]["validation_score"]
        assert row["top5"] == 1.0
        assert 0 <= row["ece"] <= 1
