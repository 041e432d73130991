"""Every family of backbones keeps one contract: its tokens are timm's own, whatever kind of model made them."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import timm
import torch
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.mlp_mixer import MlpMixer
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor

from icecore.extract.backbone.backbone import Backbone
from icecore.extract.backbone.transform import Preprocessing

VIT: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 3}
STAGES: dict[str, Any] = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}


def named(name: str, **settings: Any) -> Callable[[], Any]:
    return lambda: timm.create_model(name, num_classes=0, **settings)


PLAIN: dict[str, tuple[Callable[[], Any], int, int]] = {  # how to make it, pixels, prefix tokens
    "vit": (named("vit_base_patch16_224", **VIT), 32, 1),
    "vit, average": (named("vit_base_patch16_224", **VIT, global_pool="avg", class_token=False), 32, 0),
    "deit, distilled": (named("deit_base_distilled_patch16_224", **VIT), 32, 2),
    "deit3": (named("deit3_base_patch16_224", **VIT), 32, 1),
    "beit": (lambda: Beit(**VIT, num_classes=0, use_rel_pos_bias=True), 32, 1),
    "eva": (lambda: Eva(**VIT, num_classes=0, init_values=0.1), 32, 1),
    "eva02": (lambda: Eva(**VIT, num_classes=0, use_rot_pos_emb=True, swiglu_mlp=True), 32, 1),
    "dinov2, registers": (named("vit_base_patch14_reg4_dinov2", **VIT), 32, 5),
    "dinov3": (named("vit_small_patch16_dinov3", **VIT), 32, 5),
    "clip": (named("vit_base_patch32_clip_quickgelu_224", **VIT), 32, 1),
    "siglip": (named("vit_base_patch16_siglip_224", **VIT), 32, 0),
    "vit, relative positions": (named("vit_relpos_base_patch16_224", **VIT), 32, 0),
}
MAPS: dict[str, tuple[Callable[[], Any], int, int]] = {
    "swin": (lambda: SwinTransformer(64, 4, embed_dim=12, depths=(2, 2), num_heads=(1, 2), window_size=4), 64, 0),
    "swinv2": (named("swinv2_tiny_window8_256", img_size=64, embed_dim=12, depths=(1, 1), num_heads=(1, 2)), 64, 0),
    "convnext": (named("convnext_tiny", **STAGES), 64, 0),
    "convnextv2": (named("convnextv2_tiny", **STAGES), 64, 0),
    "resnet": (named("resnet18"), 64, 0),
    "resnetv2": (named("resnetv2_18"), 64, 0),
    "regnet": (named("regnetx_002"), 64, 0),
    "efficientnet": (named("test_efficientnet"), 64, 0),
    "mobilenetv3": (named("mobilenetv3_small_050"), 64, 0),
    "nfnet": (named("test_nfnet"), 64, 0),
    "maxvit": (named("test_maxvit", img_size=64), 64, 0),
    "mambaout": (named("test_mambaout"), 64, 0),
    "hiera": (named("hiera_tiny_224", img_size=64, embed_dim=24, stages=(1, 1, 1, 1)), 64, 0),
    "mlp mixer": (lambda: MlpMixer(0, img_size=64, embed_dim=32, num_blocks=2), 64, 0),
    "naflexvit": (named("naflexvit_base_patch16_gap", embed_dim=48, depth=2, num_heads=3), 64, 4),
}
FAMILIES = PLAIN | MAPS


def make(family: str) -> tuple[Backbone, Any, Tensor]:
    """Return a family's backbone, a copy of its model, in which no norm is a plain one, and images."""
    torch.manual_seed(0)
    builder, size, _ = FAMILIES[family]
    model = builder().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    transform = Preprocessing(model, {"img_size": size})
    backbone = Backbone(family, copy.deepcopy(model), "0" * 64, transform, torch.device("cpu"), torch.float32)
    return backbone, model, torch.randn(3, 3, size, size)


def by_timm(model: Any, images: Tensor, prefix: bool, norm: bool = False) -> list[Tensor]:
    """Return timm's intermediates as tokens, row by row after the prefix tokens."""
    more = {"return_prefix_tokens": True} if prefix else {}
    tokens: list[Tensor] = []
    for found in model.forward_intermediates(images, norm=norm, output_fmt="NCHW", intermediates_only=True, **more):
        features, first = found if prefix else (found, torch.empty(len(images), 0, found.shape[1]))
        assert features.ndim == 4
        rows = [features[:, :, y, x] for y in range(features.shape[2]) for x in range(features.shape[3])]
        tokens.append(torch.cat([first, torch.stack(rows, 1)], 1))
    return tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_are_timms_own_intermediates(family: str) -> None:
    backbone, model, images = make(family)
    num_prefix = FAMILIES[family][2]
    ran = backbone._layers._model
    tokens = backbone.forward(images, range(backbone.num_layers + 1))
    expected = by_timm(model, images, num_prefix > 0)
    first = 1 if family in PLAIN else 0  # layer 0 of a plain transformer is what enters block 1
    assert backbone.num_layers == len(expected) - 1 + first
    for layer, one in enumerate(expected, first):
        assert torch.equal(tokens[layer], one), layer
    for layer, one in tokens.items():
        spec = backbone.layer_spec(layer)
        assert tuple(one.shape) == (3, spec.num_tokens, spec.width)
        assert spec.grid is not None
        assert (spec.num_prefix, spec.num_tokens) == (num_prefix, num_prefix + spec.grid[0] * spec.grid[1])
        assert not one.requires_grad
    assert not any(module.training for module in ran.modules())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in ran.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_is_the_same_whichever_others_are_read(family: str) -> None:
    backbone, _, images = make(family)
    tokens = backbone.forward(images, range(backbone.num_layers + 1))
    for layer in reversed(range(backbone.num_layers + 1)):
        backbone.cut(layer)
        assert torch.equal(backbone.forward(images, [layer])[layer], tokens[layer]), layer


@pytest.mark.parametrize("family", ["vit", "eva02", "swin", "resnet", "hiera", "naflexvit"])
def test_threads_do_not_disturb_each_other(family: str) -> None:
    backbone, _, images = make(family)
    asked = [[layer] for layer in range(backbone.num_layers + 1)] * 3
    alone = [backbone.forward(images, layers) for layers in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda layers: backbone.forward(images, layers), asked))
    for one, other in zip(alone, together, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[layer], other[layer]) for layer in one)


@pytest.mark.parametrize("family", ["vit", "deit3", "dinov2, registers", "dinov3", "clip", "siglip", "swin"])
def test_no_norm_is_applied_silently(family: str) -> None:
    backbone, model, images = make(family)
    last = backbone.num_layers
    normalised = by_timm(model, images, FAMILIES[family][2] > 0, norm=True)[-1]
    assert not torch.allclose(backbone.forward(images, [last])[last], normalised, atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_kept_where_they_can_be_rebuilt_and_nowhere_else(family: str) -> None:
    frozen = make(family)[0].frozen()
    kept = any(name.startswith("blocks.") for name in frozen.tensors)
    assert kept == (frozen.config["why_not"] is None) == (frozen.config["rebuild"] is not None)
    assert kept == (family in PLAIN and family not in ("beit", "eva02", "dinov3", "vit, relative positions"))


@pytest.mark.parametrize("family", ["vit", "swin", "convnext", "resnet"])
def test_bfloat16_is_within_its_rounding(family: str) -> None:
    backbone, model, images = make(family)
    layers = range(backbone.num_layers + 1)
    exact = backbone.forward(images, layers)
    rounded = Backbone(family, model, "0" * 64, backbone.transform, torch.device("cpu"), torch.bfloat16).forward(
        images, layers
    )
    for layer in layers:
        assert rounded[layer].dtype == torch.bfloat16
        assert (rounded[layer].float() - exact[layer]).norm() < 2**-5 * exact[layer].norm(), layer
