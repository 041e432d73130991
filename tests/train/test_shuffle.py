"""Rows shuffled within windows teach as much as rows shuffled all together, even from a store sorted by class."""

from dataclasses import replace
from pathlib import Path

import pytest

from icecore.train import task, train
from icecore.train.order import make_order

from .conftest import FAST, MakeStore


def test_windows_teach_what_a_full_shuffle_teaches(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_rows = 1500
    url = make_store(num_rows, planted=1, labels=[row * 3 // num_rows for row in range(num_rows)])
    settings = FAST.model_copy(update={"adapters": ("inca",), "layers": "1", "seeds": 4, "lr": (2e-3,), "epochs": 3})

    def figure(num_shards: int) -> float:
        monkeypatch.setattr(task, "make_order", lambda *of: replace(make_order(*of), window_rows=64 * num_shards))
        run = train(url, str(tmp_path / str(num_shards)), settings)
        last = [row["validation_score"] for row in run.results.to_pylist() if row["epoch"] == settings.epochs]
        return sum(last) / len(last)

    windows, full = figure(8), figure(1000)
    assert full > 0.6
    deviation = (full * (1 - full) / 240) ** 0.5  # of an accuracy over the validation rows
    assert abs(windows - full) < 2 * deviation
