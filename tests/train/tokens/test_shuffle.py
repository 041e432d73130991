"""Rows shuffled through a pool teach as much as rows shuffled all together, even from a store sorted by class."""

from dataclasses import replace
from pathlib import Path

import pytest

from icecore.train import train
from icecore.train.sweep import task
from icecore.train.tokens.order import Pool, make_order

from ..conftest import FAST, MakeStore


def test_a_pool_teaches_what_a_full_shuffle_teaches(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_rows = 1500
    url = make_store(num_rows, planted=1, labels=[row * 3 // num_rows for row in range(num_rows)])
    settings = FAST.model_copy(update={"adapters": ("inca",), "layers": "1", "seeds": 4, "lr": (2e-3,), "epochs": 3})

    def figure(num_rows: int) -> float:
        monkeypatch.setattr(task, "make_order", lambda *of: replace(make_order(*of), pool=Pool(num_rows, 64, 64)))
        run = train(url, str(tmp_path / str(num_rows)), settings)
        last = [row["validation_score"] for row in run.results.to_pylist() if row["epoch"] == settings.epochs]
        return sum(last) / len(last)

    pooled, full = figure(400), figure(num_rows)
    assert full > 0.6
    deviation = (full * (1 - full) / 240) ** 0.5  # of an accuracy over the validation rows
    assert abs(pooled - full) < 2 * deviation
