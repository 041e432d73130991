"""The options of `icecore extract` that only the command knows, and rows run again by `icecore verify`."""

import json
from pathlib import Path

import pytest
from PIL import Image

from icecore.extract import LayerDifference
from icecore.store import SourceReport, open_store

WORDS = ("--backbone", "icecore_nano", "--limit", "20", "--layers", "0,9", "--shard-rows", "8")


def test_views_from_a_file_or_a_list(icecore, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- RandomHorizontalFlip: {p: 0.5}\n- RandAugment\n")
    inline = '[{"RandomHorizontalFlip": {"p": 0.5}}, "RandAugment"]'
    for name, text in (("a.ice", tmp_path / "a.yaml"), ("b.ice", inline)):
        answer = icecore("extract", "sklearn:digits", tmp_path / name, *WORDS, "--views", 2, "--augment", text)
        assert answer.code == 0, answer.err
    first, second = open_store(str(tmp_path / "a.ice")), open_store(str(tmp_path / "b.ice"))
    assert first.identity == second.identity
    assert f"--augment '{json.dumps(json.loads(inline))}'" in first.spec.command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.yaml", "--augment 'nowhere.yaml': no such file; expected rand, or a YAML or JSON list of transforms"),
        ("bad.yaml", "bad.yaml: is no YAML or JSON"),
        ("word.yaml", "cannot be read; expected rand, or a list such as"),
    ],
)
def test_an_augmentation_that_cannot_be_read(icecore, text: str, message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("[")
    Path("word.yaml").write_text("words")
    answer = icecore("extract", "sklearn:digits", "s.ice", *WORDS, "--views", 2, "--augment", text)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert message in answer.err


def test_verify_runs_rows_again(icecore, tmp_path: Path) -> None:
    store = tmp_path / "s.ice"
    assert icecore("extract", "sklearn:digits", store, *WORDS).code == 0
    answer = icecore("verify", store, "--recompute", 5)
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0] == "ok: every checksum and the ledger agree"
    assert [line.split(":")[0] for line in lines[1:]] == ["layer 0", "layer 9"]
    told = json.loads(icecore("verify", store, "--recompute", 5, "--json").out)
    assert told["ok"]
    assert [sorted(one) for one in told["recomputed"]] == [["largest", "layer", "relative"]] * 2


def test_verify_says_when_the_backbone_is_another(icecore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "s.ice"
    assert icecore("extract", "sklearn:digits", store, *WORDS).code == 0
    monkeypatch.setattr(LayerDifference, "ok", property(lambda _: False))
    answer = icecore("verify", store, "--recompute", 5)
    assert answer.code == 1
    assert "layer 9" in answer.out
    assert "WRONG: more than rounding explains" in answer.out


def test_the_sum_over_layers_is_called_so(icecore, tmp_path: Path) -> None:
    words = ("extract", "sklearn:digits", tmp_path / "a.ice", *WORDS[:-4], "--layers", "sum,2")
    assert "layer sum" in icecore(*words, "--dry-run").out
    assert icecore(*words).code == 0
    assert "2, sum  (2)" in icecore("inspect", tmp_path / "a.ice").out
    facts = json.loads(icecore("inspect", tmp_path / "a.ice", "--json").out)
    assert (facts["layers"], facts["sum"]) == ([2, 999], True)
    assert "sum" in icecore("score", tmp_path / "a.ice").out.split()


def test_failed_rows_are_told_by_reason_and_tried_again(icecore, tmp_path: Path) -> None:
    for row in range(6):
        path = tmp_path / "images" / "ab"[row % 2] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (40 * row, 0, 0)).save(path)
    good = {path: path.read_bytes() for path in (tmp_path / "images" / "a").iterdir() if path.stem != "4"}
    for number, path in enumerate(good):
        path.write_bytes(b"x" * (number + 1))
    store, reason = tmp_path / "s.ice", "ValueError: no known image format in N bytes"
    words = ("extract", f"folder:{tmp_path / 'images'}", store, "--backbone", "icecore_nano", "--layers", "1")
    assert f"2 failed (2 {reason})" in icecore(*words).out
    facts = json.loads(icecore("inspect", store, "--json").out)
    assert (facts["failed"], facts["failures"]) == (2, {reason: 2})
    assert json.loads(icecore("verify", store, "--json").out) == {"ok": True, "problems": [], "failures": {reason: 2}}
    assert f"2 rows without tokens: {reason}" in icecore("verify", store).out
    for path, data in good.items():
        path.write_bytes(data)
    again = json.loads(icecore(*words, "--retry-failed", "--json").out)
    assert (again["num_failed"], again["num_retried"], again["num_mended"]) == (0, 2, 2)
    assert json.loads(icecore("verify", store, "--json").out) == {"ok": True, "problems": []}


def test_a_store_keeps_what_its_source_held(icecore, tmp_path: Path) -> None:
    words = ("extract", "sklearn:digits", tmp_path / "a.ice", "--backbone", "icecore_nano", "--limit", 20)
    answer = icecore(*words, "--layers", 9, "--tokens", "cls")
    assert "split train  16 rows, first 'train/0/" in answer.err
    told = json.loads(icecore("inspect", tmp_path / "a.ice", "--json").out)["source_report"]
    assert SourceReport.model_validate(told) == open_store(str(tmp_path / "a.ice")).spec.source_report
    assert json.loads(icecore(*words, "--layers", 9, "--tokens", "cls", "--json").out)["source"] == told
