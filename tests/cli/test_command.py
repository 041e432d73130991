import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from icecore.cli import main
from icecore.store import IcecoreError

COMMANDS = (
    *("extract", "inspect", "verify", "score", "train", "select", "report", "predict", "export", "compare"),
    *("intrinsic", "run"),
)
DIGITS = ("extract", "sklearn:digits", "a.ice", "--backbone")


def test_importing_the_command_brings_no_stage_with_it() -> None:
    heavy = {"torch", "timm", "zarr", "matplotlib", "pyarrow", "sklearn"}
    code = f"import sys, icecore.cli; print(*sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout == "\n"


def test_help_lists_every_command_and_each_has_an_example(icecore) -> None:
    listing = icecore("--help")
    assert listing.code == 0
    for command in COMMANDS:
        assert command in listing.out
        page = icecore(command, "--help")
        assert page.code == 0
        assert f"Example: icecore {command} " in page.out


@pytest.mark.parametrize(
    ("command", "default"), [("extract", "int8"), ("score", "ridge"), ("train", "linear, inca"), ("select", "bagged")]
)
def test_help_shows_the_defaults_of_the_stages_own_settings(icecore, command: str, default: str) -> None:
    assert f"[default: {default}]" in " ".join(icecore(command, "--help").out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extarct"], "No such command 'extarct'. Did you mean 'extract', 'export'?; see icecore --help"),
        (["inspect"], "Missing argument 'STORE'; see icecore inspect --help"),
        (["inspect", "a.ice", "--jsn"], "No such option: --jsn"),
        (["train", "a.ice", "--out", "r", "--epochs", "many"], "Invalid value for '--epochs'"),
        (["train", "a.ice", "--out", "r", "--lr", "1e-3,fast"], "--lr: got 'fast': expected a valid number"),
        (["train", "a.ice", "--out", "r", "--epochs", "0"], "--epochs: got 0: expected greater than or equal to 1"),
        (["report", "nowhere"], "nowhere: is not a run, it has no run.json; make one with icecore train"),
        (["run", "demo", "-f", "nowhere.yaml"], "no file 'nowhere.yaml': name one with -f"),
        (["extract", "nowhere", "a.ice", "--backbone", "test_vit"], "source 'nowhere': no such file or folder"),
        (["extract", "tape:x", "a.ice", "--backbone", "test_vit"], "unknown source kind 'tape'"),
        ([*DIGITS, "tset_vit"], "unknown backbone 'tset_vit'"),
        (
            [*DIGITS, "test_vit", "--checkpoint", "w.pth"],
            "checkpoint 'w.pth': no such file",
        ),
        (["predict", "bundle", "nowhere.jpg"], "no image at 'nowhere.jpg': expected a file or a folder of images"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    icecore, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = icecore(*words)
    assert answer.code == 2
    assert answer.err.startswith(f"icecore: error: {message}")
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_the_backbone_lacks_is_wrong_usage(icecore, checkpoint: Path, tmp_path: Path) -> None:
    words = ("--backbone", "test_vit", "--checkpoint", checkpoint, "--layers", "0,7")
    answer = icecore("extract", "sklearn:digits", tmp_path / "a.ice", *words)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "there is no layer 7; the backbone has layers 0 to 6" in answer.err


def test_a_folder_without_images_is_wrong_usage(icecore, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "notes.txt").write_text("nothing to see")
    for words in (
        ("extract", f"folder:{images}", tmp_path / "a.ice", "--backbone", "test_vit"),
        ("predict", "b", images),
    ):
        answer = icecore(*words)
        assert answer.code == 2
        assert re.search("no images?", answer.err)


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_missing_store_is_said_in_one_line(icecore, command: str) -> None:
    answer = icecore(command, "nowhere.ice")
    assert answer.code in (1, 2)
    assert answer.err.startswith("icecore: error: nowhere.ice: is not an icecore store")
    assert answer.err.count("\n") == 1


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_2(icecore) -> None:
    answer = icecore()
    assert answer.code == 2
    assert "Usage" in answer.out + answer.err


def test_our_own_mistakes_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(url: str) -> None:
        raise ZeroDivisionError(url)

    monkeypatch.setattr("icecore.store.open_store", broken)
    with pytest.raises(ZeroDivisionError):
        main(["inspect", "a.ice"])


@pytest.mark.parametrize("command", ["train", "select", "report"])
def test_a_full_disk_is_one_line(icecore, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    names = {"train": "icecore.train.train", "select": "icecore.train.select"}
    monkeypatch.setattr(names.get(command, "icecore.cli.report.page.write_report"), full)
    words = {"train": ["a.ice", "--out", "r"], "select": ["r"], "report": ["r"]}
    answer = icecore(command, *words[command])
    assert answer.code == 1
    assert answer.err.endswith(
        "no space left on the device; what is finished is kept: make room, then run the same command again\n"
    )
    assert answer.err.count("\n") == 1


def test_ctrl_c_is_130_and_says_how_to_go_on(icecore, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("icecore.train.train", interrupted)
    answer = icecore("train", "a.ice", "--out", "r")
    assert answer.code == 130
    assert answer.err == "\nicecore: interrupted; what is trained is kept: the same command goes on\n"


def test_a_stage_that_was_interrupted_says_itself_how_to_go_on(icecore, monkeypatch: pytest.MonkeyPatch) -> None:
    class InterruptedByUserError(IcecoreError):
        exit_code = 130

    def interrupted(*_: object) -> None:
        raise InterruptedByUserError("a.ice: interrupted")

    monkeypatch.setattr("icecore.train.train", interrupted)
    answer = icecore("train", "a.ice", "--out", "r")
    assert (answer.code, answer.err) == (130, "icecore: a.ice: interrupted\n")


def test_version(icecore) -> None:
    assert re.fullmatch(r"icecore \d+\.\d+\.\d+\n", icecore("--version").out)


def test_inspect_as_json_has_the_keys_that_others_rely_on(icecore, store: Path) -> None:
    facts = json.loads(icecore("inspect", store, "--json").out)
    assert {"complete", "rows", "failed", "layers", "width", "tokens", "dtype", "bytes", "backbone"} <= set(facts)
    assert facts["complete"] is True
    assert facts["layers"] == [0, 3, 6]
    assert facts["shapes"]["3"] == {"num_tokens": 101, "width": 64, "num_prefix": 1, "grid": [10, 10]}
    assert (facts["rebuild"], facts["why_not"]) == (True, None)
    assert sum(facts["rows"].values()) == 90
    assert facts["bytes"] == sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def test_inspect_is_plain_lines_without_a_terminal(icecore, store: Path) -> None:
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in icecore("inspect", store).out.splitlines())
    assert lines["layers"] == "0, 3, 6  (3)"
    assert lines["source"] == "sklearn:digits"
    assert lines["tokens"] == "101 x 64, all, as float32"
    assert lines["blocks"] == "can be rebuilt"
    assert lines["complete"] == "yes"


def test_extract_again_does_nothing_and_says_so(icecore, store: Path, checkpoint: Path) -> None:
    words = ("--backbone", "test_vit", "--checkpoint", checkpoint, "--dtype", "float32", "--compute-dtype", "float32")
    answer = icecore("extract", "sklearn:digits", store, *words, "--layers", "0,3,6", "--limit", 90)
    assert answer.code == 0
    assert answer.out.splitlines()[0].endswith("all of them there before")
    assert [line.split()[:2] for line in answer.err.splitlines()] == [["split", "train"], ["split", "test"]]


def test_a_store_of_other_settings_is_refused(icecore, store: Path, checkpoint: Path) -> None:
    words = ("--backbone", "test_vit", "--checkpoint", checkpoint, "--dtype", "float16", "--compute-dtype", "float32")
    answer = icecore("extract", "sklearn:digits", store, *words, "--layers", "0,3,6", "--limit", 90)
    *splits, error = answer.err.splitlines()
    assert (answer.code, [line.split()[0] for line in splits]) == (1, ["split", "split"])
    assert error.startswith("icecore: error: ")
    assert "dtype" in error


def test_verify_is_1_and_names_the_place_where_a_byte_changed(icecore, store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.ice"
    shutil.copytree(store, copy)
    assert icecore("verify", copy).code == 0
    assert json.loads(icecore("verify", copy, "--json").out) == {"ok": True, "problems": []}
    biggest = max((path for path in copy.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    damaged = bytearray(biggest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    biggest.write_bytes(damaged)
    answer = icecore("verify", copy, "--json")
    assert answer.code == 1
    problem = json.loads(answer.out)["problems"][0]
    assert set(problem) == {"file", "kind", "layer", "rows", "what"}
    assert copy / problem["file"] == biggest
    plain = icecore("verify", copy)
    assert plain.code == 1
    assert plain.out.startswith(f"{problem['file']}, layer {problem['layer']}, rows ")
