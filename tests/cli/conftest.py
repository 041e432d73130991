"""The command as a function, a small real store and run, and an invented run folder with smooth curves for the page."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import save_file

from icecore.cli import main

BACKBONE = "test_vit"  # timm's smallest: 6 blocks of width 64, 160 pixels
LIMIT = 90


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Icecore = Callable[..., Answer]


@pytest.fixture
def icecore(capsys: pytest.CaptureFixture[str]) -> Icecore:
    """The command, in this process."""

    def call(*words: object) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return Answer(ended.value.code if isinstance(ended.value.code, int) else 1, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded random weights of the small backbone."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / f"{BACKBONE}.safetensors"
    save_file(timm.create_model(BACKBONE, num_classes=0).state_dict(), path)
    return path


def succeed(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 0


@pytest.fixture(scope="session")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some digits, made by the command."""
    path = tmp_path_factory.mktemp("stores") / "digits.ice"
    words = ("--backbone", BACKBONE, "--checkpoint", checkpoint, "--dtype", "float32", "--compute-dtype", "float32")
    succeed("extract", "sklearn:digits", path, *words, "--layers", "0,3,6", "--limit", LIMIT)
    return path


@pytest.fixture(scope="session")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on that store, trained and selected by the command."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    succeed("train", store, "--out", path, "--epochs", 3, "--lr", "1e-2", "--weight-decay", 0.01, "--pooling", "mean")
    succeed("select", path)
    return path


@pytest.fixture
def invented(tmp_path: Path) -> Path:
    """A run folder whose numbers are known."""
    return make_run(tmp_path / "invented")


NUM_EPOCHS = 20
GRIDS: dict[str, list[dict[str, Any]]] = {
    "linear": [{"pool": pool} for pool in ("cls", "mean")],
    "inca": [{"num_queries": 1}],
    "vqt": [{"num_queries": 1}],
}
CLASSES = [f"sign {number} <b>&" for number in range(43)]


def _accuracy(family: str, layer: int, lr: float, weight_decay: float) -> float:
    peak = {"inca": 0.91, "linear": 0.58, "vqt": 0.8}[family]
    shape = math.exp(-(((layer - 5) / 6) ** 2))
    return peak * (0.45 + 0.55 * shape) - (0.02 if lr > 2e-3 else 0.0) - (0.01 if weight_decay > 0.1 else 0.0)


def _rows(num_layers: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for family, configs in GRIDS.items():
        everything = tuple(range(num_layers))
        spans = [everything] if family == "vqt" else [(layer,) for layer in everything]
        for number, (layers, config, lr, weight_decay) in enumerate(
            itertools.product(spans, configs, (1e-3, 3e-3), (0.01, 0.3))
        ):
            layer = max(layers)
            top1 = _accuracy(family, layer, lr, weight_decay)
            for epoch in range(1, NUM_EPOCHS + 1):
                rise = 1 - math.exp(-epoch / 5)
                rows.append(
                    {
                        "adapter_id": f"{family}-{number:04d}",
                        "adapter": family,
                        "layer": layer,
                        "layers": list(layers),
                        "config": json.dumps(config),
                        "seed": 0,
                        "lr": lr,
                        "weight_decay": weight_decay,
                        "epoch": epoch,
                        "train_loss": 3.4 * math.exp(-epoch / 6) + 0.1 * (1 - top1),
                        "validation_score": top1 * rise,
                        "validation_loss": 3.7 - 3 * top1 * rise,
                        "seconds": 0.01,
                        "num_parameters": 8_299 if family == "linear" else 156_523,
                        "status": "ok",
                    }
                )
    return rows


def _figures(score: float, num_rows: int) -> dict[str, Any]:
    low, high = score - 0.02, score + 0.02
    return {"score": score, "loss": 0.41, "low": low, "high": high, "num_rows": num_rows, "num_groups": None}


def _table_row(row: dict[str, Any]) -> dict[str, Any]:
    score, test = row["validation_score"], row["validation_score"] - 0.021
    kept = ("adapter", "layer", "layers", "adapter_id", "lr", "weight_decay", "num_parameters")
    return {key: row[key] for key in kept} | {
        "config": json.loads(row["config"]),
        "multiply_adds": 600_000,
        "validation_score": score,
        "validation_loss": row["validation_loss"],
        "validation_low": score - 0.03,
        "validation_high": score + 0.03,
        "test_score": test,
        "test_low": test - 0.02,
        "test_high": test + 0.02,
    }


def _selection(rows: list[dict[str, Any]]) -> dict[str, Any]:
    last = [row for row in rows if row["epoch"] == NUM_EPOCHS]
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for row in sorted(last, key=lambda row: row["validation_score"]):
        best[row["adapter"], row["layer"]] = row
    table = [_table_row(row) for row in sorted(best.values(), key=lambda row: (row["adapter"], row["layer"]))]
    winner = max(table, key=lambda row: row["validation_score"])
    member = {key: winner[key] for key in ("adapter", "layer", "layers", "config", "adapter_id")}
    return {
        "selector": "best",
        "settings": {"selector": "best", "max_layer": 6},
        "selected": [member | {"weight": 1.0}],
        "score_name": "top1",
        "loss_name": "nll",
        "validation": _figures(winner["validation_score"], 187),
        "test": _figures(winner["test_score"], 907),
        "honest": {"score": 0.88, "loss": 0.45, "low": 0.84, "high": 0.92, "num_choices": 50, "optimism": 0.02},
        "test_optimism": 0.021,
        "winner": winner,
        "cost": {
            "deepest_layer": winner["layer"],
            "num_blocks": 12,
            "num_parameters": 83_000,
            "adapter_multiply_adds": 600_000,
            "backbone_multiply_adds": 700_000_000,
            "whole_multiply_adds": 1_250_000_000,
            "share": 0.56,
        },
        "num_test_reads": 1,
        "num_candidates": 160,
        "table": table,
    }


def _tested() -> list[dict[str, Any]]:
    """Test rows of which every ninth is taken for the class before its own."""
    labels = [row % len(CLASSES) for row in range(300)]
    guesses = [label - (row % 9 == 0) for row, label in enumerate(labels)]
    return [
        {
            "row": row,
            "key": f"test/{row}",
            "label": label,
            "prediction": guess % len(CLASSES),
            "probability": 0.99 - row / 1000,
        }
        for row, (label, guess) in enumerate(zip(labels, guesses, strict=True))
    ]


def make_run(folder: Path, num_layers: int = 13, selected: bool = True) -> Path:
    """Write a run folder and return it."""
    folder.mkdir(parents=True)
    rows = _rows(num_layers)
    pq.write_table(pa.Table.from_pylist(rows), folder / "results.parquet")
    run = {
        "format": 1,
        "store": "gtsrb.ice",
        "identity": {
            "backbone": "deit_tiny_patch16_224",
            "tokens": "all",
            "dtype": "float16",
            "dataset_sha256": "0" * 64,
        },
        "backbone": {"name": "deit_tiny_patch16_224", "weights_sha256": "3f" * 32, "checkpoint": None},
        "preprocessing": {"size": 224, "interpolation": "bicubic", "crop_pct": 1.0},
        "identity_sha256": "1" * 64,
        "target": {"name": "class"},
        "classes": CLASSES,
        "layers": list(range(num_layers)),
        "settings": {"adapters": list(GRIDS), "lr": [1e-3, 3e-3], "weight_decay": [0.01, 0.3], "epochs": NUM_EPOCHS},
        "validation": {"how": "20 % of train by group, stratified", "num_rows": 187, "rows_sha256": "ab" * 32},
        "cost": {
            "elapsed_seconds": 61.2,
            "training_seconds": 101.2,
            "reading_seconds": 3.4,
            "bytes_read": 1_022_000_000,
            "num_adapters": 160,
            "num_diverged": 0,
            "device": "cpu",
            "compute_dtype": "bfloat16",
        },
        "versions": {"icecore": "0.1.0", "python": "3.11.2", "torch": "2.15.0", "numpy": "2.4.6"},
    }
    (folder / "run.json").write_text(json.dumps(run))
    if selected:
        (folder / "selection.json").write_text(json.dumps(_selection(rows)))
        pq.write_table(pa.Table.from_pylist(_tested()), folder / "test.parquet")
    return folder
