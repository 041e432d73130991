import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from icecore.extract import open_source


@pytest.fixture
def written(checkpoint: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a file with one small pipeline, some of its settings changed."""

    def write(**changes: dict) -> Path:
        blocks = {
            "source": "sklearn:digits",
            "store": str(tmp_path / "digits.ice"),
            "run": str(tmp_path / "run"),
            "extract": {"backbone": "test_vit", "checkpoint": str(checkpoint), "layers": "1,3,6", "limit": 80},
            "train": {"lr": "1e-2,1e-3", "weight_decay": [0.01], "pooling": "mean", "epochs": 2},
        }
        for stage, settings in changes.items():
            blocks[stage] = {**blocks.get(stage, {}), **settings}
        path = tmp_path / "pipelines.yaml"
        path.write_text(yaml.safe_dump({"small": blocks}))
        return path

    return write


def stages(err: str) -> dict[str, str]:
    """What each stage said that it did."""
    lines = [re.fullmatch(r"(\w+) +[\d.]+ \w+   (.*)", line) for line in err.splitlines()]
    return {match[1]: match[2] for match in lines if match}


def test_a_pipeline_runs_to_the_report_and_what_is_up_to_date_is_skipped(icecore, written, tmp_path: Path) -> None:
    path = written()
    first = icecore("run", "small", "-f", path)
    assert first.code == 0, first.err
    assert list(stages(first.err)) == ["extract", "train", "select", "report"]
    assert "80 rows" in stages(first.err)["extract"]
    assert stages(first.err)["train"].startswith("12 adapters, ")
    assert "; the smallest class has 1 validation rows, 5 folds would choose by" in stages(first.err)["train"]
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    before = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*") if each.is_file() and "run" in each.parts}

    again = icecore("run", "small", "-f", path)
    assert again.code == 0
    assert all(done.startswith("up to date") for done in stages(again.err).values())
    assert again.out == first.out
    assert before == {each: each.stat().st_mtime_ns for each in before}


def test_a_pipeline_of_folds_chooses_by_every_train_row(icecore, written) -> None:
    answer = icecore("run", "small", "-f", written(train={"epochs": 1, "folds": 3}))
    assert answer.code == 0, answer.err
    assert "validation rows" not in stages(answer.err)["train"]
    assert re.search(r"validation  [\d.]+ %  \(.*, 64 rows\)", answer.out)


def test_the_summary_has_test_accuracy_by_layer_and_adapter(icecore, written, tmp_path: Path) -> None:
    answer = icecore("run", "small", "-f", written())
    lines = answer.out.splitlines()
    header = next(number for number, line in enumerate(lines) if line.split()[:1] == ["layer"])
    _, *families = lines[header].split()
    assert set(families) == {"linear", "inca"}
    table = {row["layer"]: {} for row in selection(tmp_path)["table"]}
    for row in selection(tmp_path)["table"]:
        table[row["layer"]][row["adapter"]] = f"{100 * row['test_score']:.1f}"
    for line in lines[header + 1 : header + 4]:
        layer, *accuracies = line.replace("*", "").split()
        assert table[int(layer)] == dict(zip(families, accuracies, strict=True))
    selected = {(member["layer"], member["adapter"]) for member in selection(tmp_path)["selected"]}
    assert answer.out.count("*") == 1 + len(selected)  # the explanation, and the selected ones
    assert f"report      {tmp_path}/run/report.html" in answer.out
    assert "\x1b" not in answer.out + answer.err


def selection(folder: Path) -> dict:
    return json.loads((folder / "run" / "selection.json").read_text())


def test_as_json_the_selection_is_printed(icecore, written, tmp_path: Path) -> None:
    answer = icecore("run", "small", "-f", written(), "--json")
    printed = json.loads(answer.out)
    assert set(printed) >= {"selected", "validation", "test", "honest", "cost", "selector", "num_test_reads"}
    assert set(printed["selected"][0]) == {"adapter", "layer", "config", "weight"}
    assert {"top1", "nll", "low", "high", "num_rows"} <= set(printed["test"])


def test_other_training_settings_train_again_and_extract_nothing(icecore, written, tmp_path: Path) -> None:
    icecore("run", "small", "-f", written())
    second = icecore("run", "small", "-f", written(train={"epochs": 3}))
    assert second.code == 0
    did = stages(second.err)
    assert did["extract"].startswith("up to date")
    assert not any(did[stage].startswith("up to date") for stage in ("train", "select", "report"))


def test_other_extraction_settings_are_refused_and_nothing_is_touched(icecore, written, tmp_path: Path) -> None:
    icecore("run", "small", "-f", written())
    files = [each for each in tmp_path.rglob("*") if each.is_file() and each.name not in ("pipelines.yaml", "lock")]
    before = {each: each.read_bytes() for each in files}
    answer = icecore("run", "small", "-f", written(extract={"dtype": "float16"}))
    assert answer.code == 1
    assert "dtype" in answer.err
    assert before == {each: each.read_bytes() for each in before}


def test_a_wrong_key_of_a_late_stage_is_found_before_anything_is_done(icecore, written, tmp_path: Path) -> None:
    path = written(select={"selektor": "best"})
    answer = icecore("run", "small", "-f", path)
    assert answer.code == 2
    assert f"{path}: small.select.selektor: unknown key (did you mean 'selector'?)" in answer.err
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_of_another_store_is_not_overwritten(icecore, trained: Path, checkpoint: Path, tmp_path: Path) -> None:
    words = ("--backbone", "test_vit", "--checkpoint", checkpoint, "--layers", "1", "--limit", 40)
    assert icecore("extract", "sklearn:digits", tmp_path / "other.ice", *words).code == 0
    answer = icecore("train", tmp_path / "other.ice", "--out", trained, "--epochs", 1)
    assert answer.code == 2
    assert "holds a run from another store" in answer.err
    assert "choose another --out or remove it" in answer.err


@pytest.mark.parametrize("as_json", [False, True])
def test_predict_names_images_in_order_and_reports_the_corrupt_one(
    icecore, trained: Path, tmp_path: Path, as_json: bool
) -> None:

    source = open_source("sklearn:digits")
    for row in range(3):
        source.decode(source.read(row)).save(tmp_path / f"{row}.png")
    (tmp_path / "1.png").write_bytes(b"torn")
    answer = icecore("predict", trained / "bundle", tmp_path, *(["--json"] if as_json else []))
    assert answer.code == 1
    speed, *rest = answer.err.splitlines()
    assert re.fullmatch(
        r"3 images, \d+ a second; backbone [\d.]+ s, then \d+ adapters? [\d.]+ s, [\d.]+ % of the backbone's time",
        speed,
    )
    assert rest == ["1 of 3 images could not be read"]
    lines = answer.out.splitlines()
    assert [f"{number}.png" in line for number, line in enumerate(lines)] == [True, True, True]
    if as_json:
        good, torn, _ = map(json.loads, lines)
        assert set(good) == {"key", "label", "probability"}
        assert torn["label"] is None
        assert "no known image format" in torn["error"]
    else:
        assert re.fullmatch(r".*0\.png\t\d\t[\d.]+ %", lines[0])
        assert "\terror: " in lines[1]
