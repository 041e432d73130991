"""What a run leaves for other tools."""

import csv
import json
from pathlib import Path

import pytest


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_after_select_the_figures_lie_beside_the_run(trained: Path) -> None:
    selection = json.loads((trained / "selection.json").read_text())
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["test"]["top1"] == selection["test"]["score"]
    assert metrics["validation"]["nll"] == selection["validation"]["loss"]
    assert metrics["num_adapters"] == json.loads((trained / "run.json").read_text())["cost"]["num_adapters"]
    lines = table(trained / "results.csv")
    assert len(lines) == metrics["num_adapters"] * 3
    assert {line["layers"] for line in lines} == {"0", "3", "6"}
    by_layer = table(trained / "by_layer.csv")
    assert [float(line["test_score"]) for line in by_layer] == [row["test_score"] for row in selection["table"]]


def test_training_again_takes_the_old_choice_out_of_the_figures(icecore, store: Path, tmp_path: Path) -> None:
    words = ("train", store, "--out", tmp_path / "run", "--adapters", "linear", "--layers", "6", "--lr", "1e-2")
    assert icecore(*words, "--epochs", 1).code == 0
    assert icecore("select", tmp_path / "run").code == 0
    assert "test" in json.loads((tmp_path / "run/metrics.json").read_text())
    assert icecore(*words, "--epochs", 2).code == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert "test" not in metrics
    assert metrics["num_adapters"] > 0


def test_tensorboard_reads_every_curve_of_a_watched_sweep(icecore, store: Path, tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    run = tmp_path / "run"
    words = ("train", store, "--out", run, "--adapters", "linear,head2toe", "--lr", "1e-2", "--weight-decay", "0")
    assert icecore(*words, "--epochs", 2).code == 0
    assert not (run / "tensorboard").exists()
    answer = icecore(*words, "--epochs", 2, "--log", "tensorboard")  # nothing left to train: written at the end
    assert answer.code == 0, answer.err
    assert icecore(*words, "--epochs", 3, "--log", "tensorboard").code == 0  # watched
    lines = [line for line in table(run / "results.csv") if line["epoch"] == "3"]
    assert lines
    for line in lines:
        where = run / "tensorboard" / line["adapter"] / f"layer {line['layers']}" / line["adapter_id"]
        (file,) = where.iterdir()
        events = list(loader.LegacyEventFileLoader(str(file)).Load())
        assert [event.step for event in events] == [0, 1, 2, 3]
        assert {value.tag: value.simple_value for value in events[-1].summary.value} == pytest.approx(
            {name: float(line[name]) for name in ("train_loss", "validation_score", "validation_loss")}, rel=1e-5
        )


def test_a_log_that_is_not_known_is_refused_before_any_work(icecore, store: Path, tmp_path: Path) -> None:
    answer = icecore("train", store, "--out", tmp_path / "run", "--log", "tensorbord")
    assert answer.code == 2
    assert "tensorboard" in answer.err
    assert not (tmp_path / "run").exists()
