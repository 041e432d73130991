"""What is exported says what the bundle says, and needs none of this library."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from icecore.live import Predictor, export
from icecore.live.export import FORMATS, load_program
from icecore.store import IcecoreError, UsageError

SCRIPT = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
images = torch.load(sys.argv[2])
torch.save(torch.cat([program(images[:1]), program(images[1:])]), sys.argv[3])
assert not [name for name in sys.modules if name.split(".")[0] in ("icecore", "timm")]
"""


def said(predictor: Predictor, pixels: torch.Tensor) -> torch.Tensor:
    return next(iter(predictor.outputs(pixels).values()))


@pytest.mark.slow
def test_a_program_runs_where_only_pytorch_is(make_trained, tmp_path: Path) -> None:
    bundle = make_trained(layers="2,4").bundle
    made = export(bundle, str(tmp_path / "m.pt2"), "torch")
    assert made.largest_difference <= 1e-3
    predictor = Predictor(bundle, compute_dtype="float32")
    pixels = torch.randint(0, 256, (6, 3, 160, 160), dtype=torch.uint8)
    torch.save(predictor.backbone.transform.normalise(pixels), tmp_path / "images.pt")
    paths = [str(tmp_path / name) for name in ("m.pt2", "images.pt", "answers.pt")]
    subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT, *paths], check=True, timeout=120)
    assert torch.allclose(torch.load(paths[2]), said(predictor, pixels), atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the exporter's own making
def test_onnx_says_the_same(make_trained, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    bundle, path = make_trained().bundle, str(tmp_path / "m.onnx")
    assert export(bundle, path, "onnx").largest_difference <= 1e-3
    predictor = Predictor(bundle, compute_dtype="float32")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for num_images in (1, 2, 5):
        pixels = torch.randint(0, 256, (num_images, 3, 160, 160), dtype=torch.uint8)
        (answers,) = session.run(None, {"images": predictor.backbone.transform.normalise(pixels).numpy()})
        assert torch.allclose(torch.from_numpy(answers), said(predictor, pixels), atol=1e-3)


@pytest.mark.slow
def test_a_hub_folder_is_a_bundle_a_program_and_a_card(make_trained, digits, tmp_path: Path) -> None:
    bundle, out = make_trained().bundle, tmp_path / "repository"
    export(bundle, str(out), "hub")
    names = {path.name for path in out.iterdir()}
    assert names == {"README.md", "adapters.safetensors", "bundle.json", "config.json", "model.pt2"}
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: icecore\n")
    assert "# Adapters for test_vit" in card
    assert json.loads((out / "config.json").read_text())["classes"] == list(map(str, range(10)))
    images = list(digits.items())[:4]
    assert list(Predictor(str(out)).predict(images)) == list(Predictor(bundle).predict(images))
    assert load_program(str(out / "model.pt2"))(torch.zeros(4, 3, 160, 160)).shape == (4, 10)


def test_what_says_something_else_is_not_kept(make_trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "torch", lambda program, images, out, bundle: lambda given: program(given) + 0.01)
    with pytest.raises(IcecoreError, match=r"m.pt2: differs from .*bundle by 0.01, more than 0.001; not kept"):
        export(make_trained().bundle, str(tmp_path / "m.pt2"), "torch")
    assert not list(tmp_path.iterdir())


def test_wrong_words(make_trained, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown export format 'onxn' .*choices: onnx, torch, hub"):
        export(make_trained().bundle, str(tmp_path / "x"), "onxn")
    with pytest.raises(UsageError, match="is there already; remove it or choose another OUT"):
        export(make_trained().bundle, str(tmp_path), "torch")
