"""The frozen backbone: its layers are timm's own, its preprocessing is timm's own, its weights are who they say."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from icecore.extract import Backbone, load_backbone
from icecore.extract.decoding.decode import decode_image
from icecore.store import UsageError

from ..conftest import BACKBONE, image_bytes

ALL = range(7)


def timm_tokens(checkpoint: str, images: Tensor, name: str = BACKBONE) -> list[Tensor]:
    """Return the tokens of all layers, computed without hooks: timm's embeddings, then its own intermediates."""
    model: Any = timm.create_model(name, checkpoint_path=checkpoint).eval().requires_grad_(False)
    first = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
    pairs = model.forward_intermediates(
        images, norm=False, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
    )
    return [first, *(torch.cat([prefix, patches], 1) for patches, prefix in pairs)]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def backbone(checkpoint: str) -> Backbone:
    return load_backbone(BACKBONE, checkpoint, device="cpu", compute_dtype="float32")


def test_every_layer_is_timms_own(backbone: Backbone, checkpoint: str, images: Tensor) -> None:
    tokens = backbone.forward(images, ALL)
    for layer, expected in enumerate(timm_tokens(checkpoint, images)):
        assert torch.equal(tokens[layer], expected), layer
        spec = backbone.layer_spec(layer)
        assert tokens[layer].shape == (3, spec.num_tokens, spec.width)
        assert not tokens[layer].requires_grad


def test_layer_0_is_what_enters_block_1(backbone: Backbone, checkpoint: str, images: Tensor) -> None:
    model: Any = timm.create_model(BACKBONE, checkpoint_path=checkpoint).eval()
    tokens = backbone.forward(images, [0, 1])
    with torch.no_grad():
        assert torch.equal(model.blocks[0](tokens[0]), tokens[1])


def test_bfloat16_is_within_its_rounding(checkpoint: str, images: Tensor) -> None:
    rounded = load_backbone(BACKBONE, checkpoint, "cpu", "bfloat16").forward(images, ALL)
    for layer, expected in enumerate(timm_tokens(checkpoint, images)):
        assert rounded[layer].dtype == torch.bfloat16
        error = (rounded[layer].float() - expected).norm() / expected.norm()
        assert error < 2**-8 * (layer + 1)


@pytest.mark.parametrize("deepest", [0, 1, 4, 6])
def test_cutting_changes_no_layer_that_is_left(backbone: Backbone, images: Tensor, deepest: int) -> None:
    before = backbone.forward(images, range(deepest + 1))
    frozen = backbone.frozen()
    backbone.cut(deepest)
    after = backbone.forward(images, range(deepest + 1))
    assert all(torch.equal(before[layer], after[layer]) for layer in before)
    assert backbone.frozen() is frozen
    assert backbone.num_layers == 6


def test_pixels_then_normalise_is_timms_transform_to_the_last_bit(backbone: Backbone) -> None:
    config = resolve_model_data_config(timm.create_model(BACKBONE))
    transform: Any = create_transform(**config)
    for seed, kind in ((0, "JPEG"), (1, "PNG"), (2, "JPEG")):
        image = decode_image(image_bytes(seed, kind))
        assert torch.equal(backbone.transform(image), transform(image))
    images = [decode_image(image_bytes(seed)) for seed in range(3)]
    pixels = torch.stack([backbone.transform.pixels(image) for image in images])
    assert torch.equal(backbone.transform.normalise(pixels), torch.stack([transform(image) for image in images]))


def test_the_transform_can_be_sent_to_another_process(backbone: Backbone) -> None:
    image = Image.new("RGB", (40, 30), "red")
    assert torch.equal(pickle.loads(pickle.dumps(backbone.transform))(image), backbone.transform(image))


def test_the_digest_is_of_the_weights_and_not_of_classifier_type_or_file(checkpoint: str, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(checkpoint)
    torch.save({"state_dict": state | {"head.weight": torch.zeros(5, 64)}}, tmp_path / "other_head.pth")
    changed = state | {"norm.bias": state["norm.bias"] + 1}
    safetensors.torch.save_file(changed, tmp_path / "changed.safetensors")
    digest = load_backbone(BACKBONE, checkpoint, compute_dtype="float32").weights_sha256
    assert load_backbone(BACKBONE, checkpoint, compute_dtype="bfloat16").weights_sha256 == digest
    assert load_backbone(BACKBONE, str(tmp_path / "other_head.pth")).weights_sha256 == digest
    assert load_backbone(BACKBONE, str(tmp_path / "changed.safetensors")).weights_sha256 != digest


def test_frozen_is_complete_and_in_the_type_that_runs(checkpoint: str) -> None:
    frozen = load_backbone(BACKBONE, checkpoint, compute_dtype="bfloat16").frozen()
    state = safetensors.torch.load_file(checkpoint)
    assert set(frozen.tensors) == {name for name in state if name.startswith(("blocks.", "norm."))}
    for name, tensor in frozen.tensors.items():
        assert torch.equal(tensor, state[name].to(torch.bfloat16 if name.startswith("blocks.") else torch.float32))
    assert frozen.config == {
        "depth": 6,
        "eps": 1e-6,
        "names": "timm",
        "rebuild": {
            "num_heads": 2,
            "eps": 1e-6,
            "qk_norm": False,
            "attention_norm": False,
            "mlp": "plain",
            "mlp_norm": False,
            "activation": "gelu",
        },
        "why_not": None,
    }


def test_local_weights_are_used_before_the_hub(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{BACKBONE}.safetensors").write_bytes(Path(checkpoint).read_bytes())
    monkeypatch.setenv("ICECORE_SHARED", str(tmp_path))
    assert load_backbone(BACKBONE).weights_sha256 == load_backbone(BACKBONE, checkpoint).weights_sha256


def test_without_weights_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICECORE_SHARED", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UsageError, match=r"no weights \(the hub .*\); pass --checkpoint FILE, or set ICECORE_SHARED"
    ) as caught:
        load_backbone(BACKBONE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm.bias": None}, "lacks norm.bias; expected the weights of this backbone"),
        ({"blocks.0.ls1.gamma": torch.zeros(1)}, "has unknown blocks.0.ls1.gamma; expected"),
        ({"blocks.6.norm1.bias": torch.zeros(1)}, "has unknown blocks.6.norm1.bias; expected"),
        ({"norm.bias": torch.zeros(5)}, "has other shapes for norm.bias; expected"),
        ({f"norm.{n}": torch.zeros(1) for n in "abcde"}, "has unknown norm.a, norm.b, norm.c and 2 more"),
    ],
)
def test_weights_of_another_model_are_refused(
    change: dict[str, Tensor | None], message: str, checkpoint: str, tmp_path: Path
) -> None:
    state = safetensors.torch.load_file(checkpoint) | change
    safetensors.torch.save_file({n: t for n, t in state.items() if t is not None}, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=message):
        load_backbone(BACKBONE, str(tmp_path / "w.safetensors"))


def test_tensors_that_no_layer_needs_are_left_over_and_listed(checkpoint: str, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(checkpoint)
    more = {"head_dist.weight": torch.zeros(3), "decoder.0.bias": torch.zeros(1), "mask_token": torch.zeros(1)}
    safetensors.torch.save_file(state | more, tmp_path / "w.safetensors")
    backbone = load_backbone(BACKBONE, str(tmp_path / "w.safetensors"))
    assert backbone.weights_sha256 == load_backbone(BACKBONE, checkpoint).weights_sha256
    (note,) = backbone.notes
    assert (note.count, note.example) == (3, "decoder.0.bias, head_dist.weight, mask_token")


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (lambda s: {"state_dict": {f"module.{n}": t for n, t in s.items()}, "epoch": 3}, ["state_dict", "module."]),
        (lambda s: {f"backbone.{n}": t for n, t in s.items()}, ["backbone."]),
        (lambda s: {"teacher": {f"module.backbone.{n}": t for n, t in s.items()}}, ["teacher", "module.backbone."]),
        (lambda s: {"model_ema": s, "optimizer": {"lr": 0.1}}, ["model_ema"]),
        (lambda s: {"model": s, "model_ema": {n: t + 1 for n, t in s.items()}}, ["model"]),
        (
            lambda s: {
                "state_dict": {
                    f"{who}.{n}": t + (who == "student") for who in ("student", "teacher") for n, t in s.items()
                }
            },
            ["state_dict", "teacher.", "student.blocks.0.attn.proj.bias"],
        ),
    ],
    ids=["lightning", "backbone", "dino", "ema", "both", "teacher"],
)
def test_checkpoints_as_training_scripts_save_them(wrap, told: list[str], checkpoint: str, tmp_path: Path) -> None:
    torch.save(wrap(safetensors.torch.load_file(checkpoint)), tmp_path / "w.pth")
    backbone = load_backbone(BACKBONE, str(tmp_path / "w.pth"))
    assert backbone.weights_sha256 == load_backbone(BACKBONE, checkpoint).weights_sha256
    assert [note.example for note in backbone.notes][: len(told)] == told


def test_several_models_side_by_side_are_refused(checkpoint: str, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(checkpoint)
    torch.save({f"{who}.{name}": tensor for who in "ab" for name, tensor in state.items()}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"w.pth': holds several models \(a\., b\.\); save the tensors of one alone"):
        load_backbone(BACKBONE, str(tmp_path / "w.pth"))


def test_checkpoints_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"checkpoint 'none.pth': no such file"):
        load_backbone(BACKBONE, "none.pth")
    for name in ("w.safetensors", "w.pth"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(UsageError, match="cannot be read as weights alone"):
            load_backbone(BACKBONE, str(tmp_path / name))
    torch.save(Path("/"), tmp_path / "object.pth")
    with pytest.raises(UsageError, match="cannot be read as weights alone"):
        load_backbone(BACKBONE, str(tmp_path / "object.pth"))
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(UsageError, match="holds no table of tensors"):
        load_backbone(BACKBONE, str(tmp_path / "list.pth"))


def test_unknown_backbones_name_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown backbone 'deit_tiny'; nearest of timm's models: .*deit"):
        load_backbone("deit_tiny")


def test_a_model_without_layers_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = random_weights("test_resnet", tmp_path)
    monkeypatch.delattr("timm.models.resnet.ResNet.forward_intermediates")
    with pytest.raises(
        UsageError, match=r"backbone 'test_resnet': has no layers to read; expected a model with timm's"
    ):
        load_backbone("test_resnet", path)


def test_a_model_whose_intermediates_are_no_maps_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = random_weights("test_resnet", tmp_path)
    monkeypatch.setattr("timm.models.resnet.ResNet.forward_intermediates", lambda *_, **__: [torch.zeros(1, 5)])
    message = (
        r"gives no layers for images of 160 x 160 pixels \(an intermediate is \(1, 5\), expected a map of 1 x width"
    )
    with pytest.raises(UsageError, match=message):
        load_backbone("test_resnet", path)


def random_weights(name: str, folder: Path) -> str:
    safetensors.torch.save_file(timm.create_model(name).state_dict(), folder / "w.safetensors")
    return str(folder / "w.safetensors")


def test_another_image_size_resamples_the_positions_as_timm_does(checkpoint: str, images: Tensor) -> None:
    backbone = load_backbone(BACKBONE, checkpoint, "cpu", "float32", {"img_size": 96})
    square = images[:, :, :96, :96]
    model: Any = timm.create_model(BACKBONE, checkpoint_path=checkpoint).eval().requires_grad_(False)
    model.set_input_size(img_size=96)
    expected = model.forward_intermediates(square, norm=False, output_fmt="NLC", intermediates_only=True)
    tokens = backbone.forward(square, ALL)
    assert all(torch.equal(tokens[layer][:, 1:], one) for layer, one in enumerate(expected, 1))
    assert backbone.layer_spec(3).grid == (6, 6)
    assert backbone.preprocessing["input_size"] == [3, 96, 96]
    assert backbone.transform(Image.new("RGB", (300, 200))).shape == (3, 96, 96)
    assert backbone.weights_sha256 == load_backbone(BACKBONE, checkpoint).weights_sha256
    with pytest.raises(UsageError, match=r"layer 1 has tokens \(3, 25, 64\), expected \(3, 37, 64\)"):
        backbone.forward(images[:, :, :96, :64], [1])


@pytest.mark.parametrize("size", [64, 100])
def test_a_convolution_takes_any_image_size(size: int, tmp_path: Path) -> None:
    backbone = load_backbone(
        "test_resnet", random_weights("test_resnet", tmp_path), "cpu", "float32", {"img_size": size}
    )
    assert backbone.layer_spec(0).grid == (size // 2, size // 2)
    assert backbone.forward(torch.zeros(2, 3, size, size), [4])[4].shape == (2, backbone.layer_spec(4).num_tokens, 96)


@pytest.mark.parametrize("name", [BACKBONE, "mixer_s32_224"])
def test_an_image_size_that_a_model_cannot_take_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"backbone '{name}': gives no layers for images of 100 x 100 pixels \(.+\)$"):
        load_backbone(name, random_weights(name, tmp_path), preprocessing={"img_size": 100})


def test_names_of_the_hub_take_their_configuration_from_there(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, images: Tensor
) -> None:
    asked: list[str] = []

    def configuration(name: str, **_: object) -> tuple[dict[str, Any], str, dict[str, Any]]:
        asked.append(name)
        return {"input_size": (3, 160, 160), "fixed_input_size": True, "classifier": "head"}, BACKBONE, {}

    monkeypatch.setattr("timm.models._factory.load_model_config_from_hf", configuration)
    backbone = load_backbone("hf-hub:somebody/something", checkpoint, "cpu", "float32")
    assert asked == ["somebody/something"]
    assert torch.equal(backbone.forward(images, [6])[6], timm_tokens(checkpoint, images)[6])


def test_unusable_devices_and_types_are_refused(checkpoint: str) -> None:
    with pytest.raises(UsageError, match="device 'gpu': cannot be used here"):
        load_backbone(BACKBONE, checkpoint, device="gpu")
    with pytest.raises(UsageError, match="unknown compute dtype 'half'; choices: float32, bfloat16"):
        load_backbone(BACKBONE, checkpoint, compute_dtype="half")


def test_the_pretrained_weights_are_timms_own_layers(deit: Path) -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    tokens = load_backbone("deit_tiny_patch16_224", str(deit), "cpu", "float32").forward(images, range(13))
    for layer, expected in enumerate(timm_tokens(str(deit), images, "deit_tiny_patch16_224")):
        assert torch.equal(tokens[layer], expected), layer
