"""What is exported says what the bundle says, and needs none of this library."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from icecore.live import Predictor, export
from icecore.live.predict.export import FORMATS, load_program
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


@pytest.mark.parametrize(
    ("out", "format", "says"),
    [
        ("x", "onxn", r"unknown export format 'onxn' .*choices: onnx, torch, hub"),
        ("", "torch", "is there already; remove it or choose another OUT"),
        ("taken.pt2", "torch", "is there already; remove it or choose another OUT"),
        ("dangling.pt2", "torch", "is there already; remove it or choose another OUT"),
        ("gone/m.pt2", "torch", r"there is no folder '.*gone'; make it or choose another OUT"),
        ("taken.pt2/m.pt2", "torch", "there is no folder"),
        ("m.onnx", "torch", r"m.onnx: format 'torch' is a file that ends in .pt2; choose another OUT or --format"),
        ("m.pt2", "onnx", r"m.pt2: format 'onnx' is a file that ends in .onnx; choose another OUT or --format"),
        ("m", "onnx", "is a file that ends in .onnx"),
        ("m.pt2", "hub", r"m.pt2: format 'hub' is a folder; choose another OUT or --format"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_said_before_anything_is_loaded(
    tmp_path: Path, out: str, format: str, says: str
) -> None:
    (tmp_path / "taken.pt2").write_text("mine")
    (tmp_path / "dangling.pt2").symlink_to("nowhere")
    with pytest.raises(UsageError, match=says):
        export("no bundle", str(tmp_path / out), format)
    assert (tmp_path / "taken.pt2").read_text() == "mine"


def test_what_is_stopped_leaves_nothing(make_trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(program: object, images: object, out: Path, bundle: object) -> None:
        out.write_bytes(b"half")
        assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
        raise OSError(28, "No space left on device")

    for format, name in (("torch", "m.pt2"), ("onnx", "m.onnx"), ("hub", "folder")):
        monkeypatch.setitem(FORMATS, format, full)  # pyright: ignore[reportArgumentType]
        with pytest.raises(OSError, match="No space left"):
            export(make_trained().bundle, str(tmp_path / name), format)
    assert not list(tmp_path.iterdir())
