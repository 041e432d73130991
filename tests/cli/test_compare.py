"""`icecore compare`, as a user meets it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from icecore.cli.app import main
from icecore.extract import open_source
from icecore.live.comparison.comparison import read_comparison
from icecore.store import open_store
from icecore.train import load_bundle


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), folder / "weights.safetensors")
    backbone = ["--backbone", "test_vit", "--checkpoint", f"{folder}/weights.safetensors"]
    url = str(folder / "d.ice")
    assert (
        run("extract", "sklearn:digits", url, *backbone, "--layers", "2,4", "--dtype", "float32", "--limit", "80") == 0
    )
    options = ["--adapters", "linear", "--pooling", "mean", "--lr", "1e-2", "--epochs", "2"]
    assert run("train", url, "--out", f"{folder}/run", *options) == 0
    assert run("select", f"{folder}/run") == 0
    return folder


def run(*words: str) -> Any:
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code


def test_methods_beside_a_run(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", f"{store}/d.ice", "--methods", "linear,layernorm", "--out", f"{store}/live"]
    words += ["--run", f"{store}/run", "--epochs", "1", "--lr", "1e-3", "--batch-size", "16"]
    capsys.readouterr()
    assert run(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["validation", "test", "top1"]
    assert [line.split()[0] for line in lines[1:5]] == ["linear", "layernorm", "linear,", "bagged"]
    assert any("seconds" in line and "without the extraction" in line for line in lines)
    assert run(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in found["rows"]] == ["in-backbone"] * 2 + ["cached"] * 2
    assert read_comparison(str(store / "live")).content == found
    assert all(row["seconds"] > 0 and row["peak_bytes"] > 0 for row in found["rows"])


@pytest.mark.parametrize("with_run", [False, True])
def test_a_report_shows_methods_beside_cached_adapters(store: Path, with_run: bool) -> None:
    words = ["compare", f"{store}/d.ice", "--methods", "linear,layernorm", "--out", f"{store}/live"]
    assert run(*words, "--run", f"{store}/run", "--epochs", "1", "--lr", "1e-3", "--batch-size", "16") == 0
    runs = [f"{store}/run"] if with_run else []
    assert run("report", *runs, f"{store}/live", "--out", f"{store}/page.html") == 0
    page = (store / "page.html").read_text()
    assert page.count("<h1>Inside the backbone and from the cache: ") == 1
    assert page.count("<article id=") == 1 + with_run
    for name in ("linear", "layernorm", "linear, layer", "bagged of"):
        assert f'<td class="text">{name}' in page
    section = page.split("<h1>Inside")[1].split("</article>")[0]
    (row,) = re.findall(r'<tr><td class="text">linear</td>.*</tr>', section)
    assert row.count("<td") == section.count("<th ")
    for axis in ("trained parameters", "training seconds", "peak memory, GB", "multiply-adds, G"):
        assert axis in page


def test_a_report_shows_every_folder_of_methods_also_where_names_are_the_same(store: Path) -> None:
    words = ["compare", f"{store}/d.ice", "--methods", "linear", "--epochs", "1", "--lr", "1e-3"]
    folders = [f"{store}/a/live", f"{store}/b/live"]
    for folder in folders:
        Path(folder).parent.mkdir()
        assert run(*words, "--out", folder) == 0
    assert run("report", *folders, "--out", f"{store}/both.html") == 0
    assert (store / "both.html").read_text().count("<h1>Inside the backbone and from the cache: ") == 2


def test_options_of_one_method(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", f"{store}/d.ice", "--methods", "lora", "--out", f"{store}/lora", "--lr", "1e-3", "--json"]
    words += ["--epochs", "1", "--option", "lora.rank=2", "--option", "lora.modules=key,fc1"]
    capsys.readouterr()
    assert run(*words) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["config"] == {"rank": 2, "alpha": 16.0, "modules": ["key", "fc1"]}
    assert row["num_parameters"] == 6 * 2 * (64 + 64 + 64 + 3 * 64) + 10 * 65


def test_the_submodules_of_least_intrinsic_dimension(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["intrinsic", f"{store}/d.ice", "--out", f"{store}/intrinsic", "--modules", "query,fc1", "--epochs", "1"]
    words += ["--dimensions", "1,2", "--lr", "1e-4"]
    capsys.readouterr()
    assert run(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["validation", "d90", "none", "of", "it", "1", "2", "all", "of", "it"]
    assert [line.split()[0] for line in lines[1:3]] == ["query", "fc1"]
    assert lines[3].endswith("intrinsic_dimension.svg shows it")
    assert lines[4:] == ["no d90, as no dimension is enough or the classifier alone is: query, fc1"]
    assert run("intrinsic", f"{store}/d.ice", "--out", f"{store}/intrinsic", "--dimensions", "0") == 2


IN_SMALL = {  # what the commands of the document become here
    "photos.ice": "d.ice",
    "folder:photos": "sklearn:digits --limit 80 --dtype float32",
    "deit_tiny_patch16_224": "test_vit",
    "kadaptation": "kadaptation --epochs 1 --lr 1e-2",
    "vqt": "vqt --epochs 2 --lr 0.1",
    "holiday/": "digit.png",
}


def test_adapters_on_an_adapted_backbone_by_the_commands_of_the_document(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = (Path(__file__).parents[2] / "docs/guides/live.md").read_text()
    section = document.split("## An adapted backbone\n")[1].split("\n## ")[0]
    commands = [line.split()[1:] for line in section.splitlines() if line.startswith("    icecore ")]
    assert [words[0] for words in commands] == ["compare", "extract", "train", "select", "predict"]
    monkeypatch.chdir(store)
    source = open_source("sklearn:digits")
    source.decode(source.read(0)).save("digit.png")
    for words in commands:
        assert run(*" ".join(IN_SMALL.get(word, word) for word in words).split()) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("digit.png\t")
    before, after = open_store("d.ice").identity, open_store("adapted.ice").identity
    assert (before.backbone, before.dataset_sha256) == (after.backbone, after.dataset_sha256)
    assert before.weights_sha256 != after.weights_sha256
    assert load_bundle("runs/adapted/bundle").backbone["weights_sha256"] == after.weights_sha256


def test_rows_run_live(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", f"{store}/d.ice", "--rows", "5", "--run", f"{store}/run", "--batch-size", "2"]
    capsys.readouterr()
    assert run(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["2", "4"]
    assert "0 of 5 answers change" in lines[3]
    assert "5, in batches of 2 on cpu" in lines[4]
    assert run(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["layer"] for one in found["layers"]] == [2, 4]
    assert found["predictions"][0]["num_changed"] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "expected --rows N, or --methods A,B with --out DIR, and not both"),
        (["--rows", "3", "--methods", "full"], "and not both"),
        (["--methods", "full"], "expected --out DIR, a folder for what is trained"),
        (["--methods", "fulll", "--out", "x"], "unknown method 'fulll' (did you mean 'full'?)"),
        (["--methods", "full", "--out", "x", "--lr", "0"], "expected one or more positive numbers"),
        (["--methods", "lora", "--out", "x", "--option", "rank"], "expected METHOD.NAME=VALUE, such as lora.rank=8"),
        (
            ["--methods", "lora", "--out", "x", "--option", "lora.rang=2"],
            "--option lora.rang: unknown key (did you mean 'rank'?); known: rank, alpha, modules",
        ),
    ],
)
def test_wrong_words(store: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", f"{store}/d.ice", *words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
