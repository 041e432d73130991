"""Blocks loaded one at a time give the same bits as the whole backbone, in the memory of a few."""

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from icecore.extract import ExtractSettings, extract, preflight
from icecore.store import UsageError, open_store, verify

from ..conftest import make_folder

LARGE = "vit_base_patch32_224"  # 86 million weights, 50 tokens
CHILD = """
import sys
from pathlib import Path
from icecore.extract import ExtractSettings, extract
import icecore.extract.preparation, icecore.store.format.arrays, timm, torch
torch.set_num_threads(1)

def memory(what):
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith(what)).split()[1]) * 1024

extract(sys.argv[1], sys.argv[2] + ".warm", ExtractSettings(backbone="icecore_nano", limit=4, num_threads=1))
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
extract(sys.argv[1], sys.argv[2], ExtractSettings.model_validate_json(sys.argv[3]))
print(memory("VmHWM") - before)
"""


def arrays(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("layers/**/*") if path.is_file()}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"compute_dtype": "bfloat16", "dtype": "int8", "layers": "2,4"},
        {"img_size": 192, "tokens": "pool:2", "dtype": "int4"},
        {"views": 2, "augment": "rand", "layers": "0"},
    ],
)
def test_streamed_is_whole(change: dict, settings: ExtractSettings, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "images")
    (tmp_path / "images" / "train" / "bee" / "001.jpg").write_bytes(b"")
    settings = settings.model_copy(update=change)
    streamed = settings.model_copy(update={"stream_blocks": True})
    extract(source, str(tmp_path / "whole.ice"), settings)
    report = extract(source, str(tmp_path / "s.ice"), streamed)
    assert arrays(tmp_path / "s.ice") == arrays(tmp_path / "whole.ice")
    store, whole = open_store(str(tmp_path / "s.ice")), open_store(str(tmp_path / "whole.ice"))
    assert (store.identity, store.failed) == (whole.identity, whole.failed)
    assert report.num_failed == 1
    assert verify(store.url) == []
    assert store.backbone_config()["why_not"] == "extracted with --stream-blocks, which keeps no blocks"
    assert preflight(source, str(tmp_path / "s.ice"), streamed).missing_bytes < 5000


def test_a_layer_streamed_into_a_store_takes_no_blocks_from_it(settings: ExtractSettings, tmp_path: Path) -> None:
    source, url = make_folder(tmp_path / "images"), str(tmp_path / "s.ice")
    extract(source, url, settings.model_copy(update={"layers": "1"}))
    before = open_store(url).frozen()
    extract(source, url, settings.model_copy(update={"layers": "2", "stream_blocks": True}))
    after = open_store(url)
    assert after.layers == (1, 2)
    assert after.frozen().config == before.config
    assert after.frozen().tensors.keys() == before.tensors.keys()


def test_a_prefix_is_taken_off_as_the_whole_backbone_does(settings: ExtractSettings, tmp_path: Path) -> None:
    source, path = make_folder(tmp_path / "images"), tmp_path / "wrapped.safetensors"
    tensors = safetensors.torch.load_file(str(settings.checkpoint))
    wrapped = {f"module.backbone.{name}": tensor for name, tensor in tensors.items()}
    spare = {"module.queue": torch.zeros(1), "module.backbone.mask_token": torch.zeros(1)}
    safetensors.torch.save_file(wrapped | spare, path)
    settings = settings.model_copy(update={"checkpoint": str(path)})
    streamed = settings.model_copy(update={"stream_blocks": True})
    notes = [
        extract(source, str(tmp_path / name), given).source.noted
        for name, given in (("whole.ice", settings), ("s.ice", streamed))
    ]
    assert arrays(tmp_path / "s.ice") == arrays(tmp_path / "whole.ice")
    assert open_store(str(tmp_path / "s.ice")).identity == open_store(str(tmp_path / "whole.ice")).identity
    assert notes[0] == notes[1]
    assert {"module.backbone.", "module.queue", "mask_token"} <= {one.example for one in notes[0]}


@pytest.mark.slow
def test_weights_of_three_times_the_memory_are_enough(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "images", 8)
    checkpoint = tmp_path / "large.safetensors"
    torch.manual_seed(0)
    safetensors.torch.save_file(timm.create_model(LARGE, num_classes=0).state_dict(), checkpoint)
    settings = ExtractSettings(
        backbone=LARGE,
        checkpoint=str(checkpoint),
        layers="3,12",
        dtype="float32",
        compute_dtype="float32",
        batch_size=4,
        num_threads=1,
    )
    extract(source, str(tmp_path / "whole.ice"), settings)
    given = settings.model_copy(update={"stream_blocks": True}).model_dump_json()
    child = [sys.executable, "-c", CHILD, source, str(tmp_path / "s.ice"), given]
    peak_bytes = int(subprocess.run(child, check=True, capture_output=True, text=True).stdout)
    assert checkpoint.stat().st_size > 3 * peak_bytes, f"{peak_bytes / 1e6:.0f} MB"
    assert arrays(tmp_path / "s.ice") == arrays(tmp_path / "whole.ice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "resnet10t"}, "ResNet cannot be streamed; expected a VisionTransformer"),
        ({"backbone": "vit_tiny_patch16_224"}, "lacks, or has other or unknown, .*; expected the weights of this"),
        ({"checkpoint": "nowhere.safetensors"}, r"'nowhere\.safetensors': cannot be streamed .*expected a .safeten"),
        ({"checkpoint": None}, "backbone 'test_vit': is streamed from a file; pass --checkpoint FILE.safetensors"),
        ({"workers": 2}, "stream-blocks runs in one process; expected no workers"),
    ],
)
def test_what_cannot_be_streamed_is_said_so(
    change: dict, message: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"stream_blocks": True, **change})
    with pytest.raises(UsageError, match=message):
        extract(make_folder(tmp_path / "images"), str(tmp_path / "s.ice"), settings)
