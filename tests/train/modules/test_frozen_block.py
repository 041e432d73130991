"""A rebuilt block does to a query what timm's own block does to an extra token that no token attends to."""

from typing import Any

import pytest
import timm
import torch
from timm.layers.activations import QuickGELU
from timm.layers.mlp import SwiGLU, SwiGLUPacked
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelThingsBlock
from torch import Tensor, nn

from icecore.extract.backbone.config import blocks_config
from icecore.store import IcecoreError
from icecore.train.modules.frozen_block import FrozenBlock
from icecore.train.modules.norms import normalise

NUM_ROWS, NUM_TOKENS, NUM_QUERIES, WIDTH = 3, 7, 2, 48
SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 16, "embed_dim": WIDTH, "depth": 2, "num_heads": 3}


def vit(name: str, **settings: Any) -> Any:
    return timm.create_model(name, **{**SMALL, **settings})


def gated_vit() -> Any:
    model = vit("vit_base_patch16_224")
    model.blocks[1].attn.gate = nn.Linear(WIDTH, WIDTH)
    return model


FAMILIES: dict[str, Any] = {
    "vit": lambda: vit("vit_base_patch16_224"),
    "vit, no bias": lambda: vit("vit_base_patch16_224", qkv_bias=False, proj_bias=False),
    "deit, distilled": lambda: vit("deit_base_distilled_patch16_224"),
    "deit3, layer scale": lambda: vit("deit3_base_patch16_224"),
    "dinov2, registers": lambda: vit("vit_base_patch14_reg4_dinov2"),
    "dinov2, packed swiglu": lambda: vit("vit_giant_patch14_dinov2"),
    "swiglu": lambda: vit("vit_base_patch16_224", mlp_layer=SwiGLU),
    "gated last": lambda: vit("vit_base_patch16_224", mlp_layer=timm.layers.mlp.GluMlp),
    "clip": lambda: vit("vit_base_patch32_clip_quickgelu_224"),
    "clip, eps": lambda: vit("vit_base_patch32_clip_224"),
    "siglip": lambda: vit("vit_base_patch16_siglip_224"),
    "siglip2, tanh": lambda: vit("vit_so400m_patch14_siglip_224"),
    "qk-norm": lambda: vit("vit_base_patch16_224", qk_norm=True),
    "inner norms": lambda: vit("vit_base_patch16_224", scale_attn_norm=True, scale_mlp_norm=True),
    "beit, no relative positions": lambda: Beit(**SMALL, use_abs_pos_emb=True, init_values=0.1),
    "eva": lambda: Eva(**SMALL, qkv_bias=True, init_values=0.1),
    "eva, unfused": lambda: Eva(**SMALL, qkv_fused=False, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True),
}
FOLDABLE = [name for name in FAMILIES if name != "qk-norm"]


def make(name: str) -> Any:
    """Return a model in which no parameter has the value that it starts with."""
    torch.manual_seed(0)
    model = FAMILIES[name]().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def rebuilt(model: Any, index: int = 1) -> FrozenBlock:
    return FrozenBlock.of(blocks_config(model), model.state_dict(), index)


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = (NUM_ROWS, NUM_QUERIES, WIDTH), (NUM_ROWS, NUM_TOKENS, WIDTH)
    queries, tokens = (torch.randn(*shape, generator=generator) * 2 + 0.5 for shape in shapes)
    return queries.requires_grad_(), tokens


def by_timm(block: Any, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the attention and MLP branches add to the queries, by timm's block."""
    entered: list[Tensor] = []
    hook = block.norm2.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    num_all = NUM_TOKENS + NUM_QUERIES
    mask = torch.zeros(num_all, num_all).masked_fill(torch.arange(num_all) >= NUM_TOKENS, float("-inf"))
    name = "shared_rel_pos_bias" if isinstance(block, timm.models.beit.Block) else "attn_mask"
    after = block(torch.cat([tokens, queries], 1), **{name: mask})
    hook.remove()
    assert torch.allclose(after[:, :NUM_TOKENS], block(tokens), atol=1e-5)  # nobody attended to a query
    middle = entered[0][:, NUM_TOKENS:]
    return middle - queries, after[:, NUM_TOKENS:] - middle


def by_folding(block: FrozenBlock, queries: Tensor, tokens: Tensor) -> Tensor:
    normalised = normalise(tokens, block.facts.eps)
    logits = block.fold(queries) @ normalised.transpose(1, 2)
    return block.gathered(logits.softmax(-1) @ normalised)


def gradient(outcome: Tensor, queries: Tensor) -> Tensor:
    weights = torch.randn(outcome.shape, generator=torch.Generator().manual_seed(2))
    return torch.autograd.grad((outcome * weights).sum(), queries, retain_graph=True)[0]


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert (found - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_query_leaves_the_block_as_an_extra_token_would(name: str) -> None:
    model, (queries, tokens) = make(name), inputs()
    block = rebuilt(model)
    h, g = by_timm(model.blocks[1], queries, tokens)
    ours = block.attend(queries, normalise(tokens, block.facts.eps))
    branch = block.mlp(queries + ours)
    for found, expected in ((ours, h), (branch, g), (queries + ours + branch, queries + h + g)):
        assert_close(found, expected)
        assert_close(gradient(found, queries), gradient(expected, queries))
    assert not any(tensor.requires_grad for tensor in block.tensors.values())


@pytest.mark.parametrize("name", FOLDABLE)
def test_folded_equals_explicit(name: str) -> None:
    model, (queries, tokens) = make(name), inputs()
    block = rebuilt(model)
    h, _ = by_timm(model.blocks[1], queries, tokens)
    folded = by_folding(block, queries, tokens)
    assert block.can_fold
    assert_close(folded, h)
    assert_close(gradient(folded, queries), gradient(h, queries))


@pytest.mark.parametrize("stack", [(), (4,), (2, 5)])
def test_any_stack_of_queries_is_folded_at_once(stack: tuple[int, ...]) -> None:
    block = rebuilt(make("vit"))
    queries = torch.randn(*stack, NUM_QUERIES, WIDTH)
    folded, after = block.fold(queries), block.mlp(queries)
    gathered = block.gathered(folded)
    assert folded.shape == (*stack, NUM_QUERIES * 3, WIDTH)
    for place in torch.cartesian_prod(*map(torch.arange, stack)).view(-1, len(stack)).tolist() if stack else []:
        one = queries[tuple(place)]
        assert torch.allclose(folded[tuple(place)], block.fold(one), atol=1e-5)
        assert torch.allclose(gathered[tuple(place)], block.gathered(block.fold(one)), atol=1e-4)
        assert torch.allclose(after[tuple(place)], block.mlp(one), atol=1e-5)


def test_attention_in_bfloat16_is_within_its_rounding() -> None:
    block, (queries, tokens) = rebuilt(make("vit")), inputs()
    normalised = normalise(tokens, block.facts.eps)
    pooled = (block.fold(queries) @ normalised.transpose(1, 2)).softmax(-1) @ normalised
    exact, rounded = block.gathered(pooled), block.gathered(pooled.bfloat16())
    assert rounded.dtype == torch.float32
    assert (rounded - exact).norm() < 2**-7 * exact.norm()


def test_block_0_reads_layer_0_and_every_block_is_its_own() -> None:
    model, (queries, tokens) = make("vit"), inputs()
    for index in range(2):
        block = rebuilt(model, index)
        ours = block.attend(queries, normalise(tokens, block.facts.eps))
        assert_close(ours, by_timm(model.blocks[index], queries, tokens)[0])


def test_normalised_keys_cannot_be_folded() -> None:
    block, (queries, _) = rebuilt(make("qk-norm")), inputs()
    assert not block.can_fold
    with pytest.raises(IcecoreError, match="normalises every key, so it cannot be folded; use attend"):
        block.fold(queries)


@pytest.mark.parametrize(
    ("make_model", "reason"),
    [
        (lambda: Eva(**SMALL, use_rot_pos_emb=True), "rotary positions in attention"),
        (lambda: Beit(**SMALL, use_rel_pos_bias=True), "relative positions in attention"),
        (lambda: Beit(**SMALL, use_shared_rel_pos_bias=True), "relative positions in attention"),
        (lambda: Eva(**SMALL, use_post_norm=True), r"blocks of another kind \(EvaBlockPostNorm\)"),
        (gated_vit, "gated attention"),
        (lambda: Eva(**SMALL, attn_type="rope", qkv_fused=False, num_kv_heads=1), "queries that share keys"),
        (lambda: Eva(**SMALL, attn_type="rope", qkv_fused=False, num_kv_heads=(3, 1)), "queries that share keys"),
        (lambda: vit("vit_srelpos_small_patch16_224"), r"blocks of another kind \(RelPosBlock\)"),
        (lambda: vit("vit_base_patch16_224", block_fn=ParallelThingsBlock), r"of another kind \(ParallelThingsBlock\)"),
        (lambda: vit("vit_base_patch16_224", attn_layer="diff"), r"of another kind \(DiffAttention\)"),
        (lambda: vit("vit_base_patch16_224", act_layer="mish"), "activation Mish"),
        (lambda: vit("vit_base_patch16_224", norm_layer="rmsnorm"), r"norms of another kind \(RmsNorm\)"),
        (lambda: timm.create_model("test_convnext"), "ConvNeXt is no plain sequence of transformer blocks"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused_by_name(make_model: Any, reason: str) -> None:
    model: nn.Module = make_model()
    with pytest.raises(IcecoreError, match=f"blocks cannot be rebuilt without timm: .*{reason}"):
        FrozenBlock.of(blocks_config(model), model.state_dict(), 0)


def test_a_block_that_is_not_there_is_refused() -> None:
    with pytest.raises(IcecoreError, match=r"there is no block 2; expected tensors blocks\.2\.\*"):
        rebuilt(make("vit"), 2)


def test_a_store_that_does_not_say_is_refused() -> None:
    with pytest.raises(IcecoreError, match="the store does not say how; extract again"):
        FrozenBlock.of({"eps": 1e-6}, {}, 0)


def test_every_activation_that_is_written_can_be_read() -> None:
    config = blocks_config(vit("vit_base_patch16_224", act_layer=QuickGELU, mlp_layer=SwiGLUPacked))
    assert config["rebuild"]["mlp"] == "gate_first"  # pyright: ignore
    assert config["rebuild"]["activation"] == "quick_gelu"  # pyright: ignore
