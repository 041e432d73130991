"""What every in-backbone method owes: counts, the traps of zeros and of batch mates, and merging."""

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from icecore.live.finetune.attach import attach, merge, trained
from icecore.live.finetune.methods import METHODS, get_method
from icecore.live.finetune.prompted import Prompted
from icecore.store import UsageError

DEPTH, WIDTH, MLP, PATCH, TOKENS, CLASSES = 3, 32, 128, 8, 17, 5
BLOCK = 12 * WIDTH**2 + 13 * WIDTH  # qkv, projection and MLP with biases, two norms
CLASSIFIER = CLASSES * WIDTH + CLASSES
SMALL: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2},
    "adapter": {"hidden": 8},
    "compacter": {"hidden": 8, "num_terms": 4},
    "vpt_shallow": {"num_prompts": 3},
    "vpt_deep": {"num_prompts": 3},
    "kadaptation": {"num_terms": 8},
    "subspace": {"dimension": 6, "module": "value"},
}
# What each trains beside the classifier, by its formula.
FORMULAS = {
    "full": DEPTH * BLOCK + 2 * WIDTH + (3 * PATCH**2 + 1) * WIDTH + TOKENS * WIDTH + WIDTH,
    "linear": 0,
    "bitfit": DEPTH * (3 * WIDTH + WIDTH + MLP + WIDTH + 2 * WIDTH) + WIDTH + WIDTH,
    "layernorm": DEPTH * 4 * WIDTH + 2 * WIDTH,
    "lora": DEPTH * 2 * 2 * 2 * WIDTH,
    "adapter": DEPTH * (2 * WIDTH + 2 * 8 * WIDTH + 8 + WIDTH),
    "compacter": 4**3 + DEPTH * (2 * WIDTH + 2 * (WIDTH + 8) + 8 + WIDTH),
    "vpt_shallow": 3 * WIDTH,
    "vpt_deep": DEPTH * 3 * WIDTH,
    "kadaptation": DEPTH * 4 * WIDTH + 4 * 8**2 + DEPTH * WIDTH,
    "subspace": 6,
}


def vit(num_classes: int = 0, **settings: Any) -> Any:
    torch.manual_seed(7)
    size = {"img_size": 32, "patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": 4}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=num_classes, **size, **settings)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)  # so that a bias that is lost is seen
    return model


def images(num: int = 6) -> Tensor:
    return torch.randn(num, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def attached(name: str, **config: Any) -> Any:
    model = vit()
    method = get_method(name).model_validate(SMALL.get(name, {}) | config)
    attach(method, model, CLASSES, seed=3)
    return model


def step(model: Any, lr: float = 0.5, num: int = 1) -> list[dict[str, Tensor]]:
    """Take plain SGD steps and return each step's gradients."""
    labels, gradients = torch.arange(6) % CLASSES, []
    for _ in range(num):
        model.zero_grad()
        cross_entropy(model(images()), labels).backward()
        gradients.append({name: p.grad.clone() for name, p in trained(model).items()})  # pyright: ignore
        with torch.no_grad():
            for parameter in trained(model).values():
                parameter -= lr * parameter.grad  # pyright: ignore
    return gradients


def features(model: Any) -> Tensor:
    with torch.no_grad():
        return model.forward_head(model.forward_features(images()), pre_logits=True)


@pytest.mark.parametrize("name", METHODS)
def test_the_number_of_trained_parameters_is_the_formulas(name: str) -> None:
    assert sum(p.numel() for p in trained(attached(name)).values()) == FORMULAS[name] + CLASSIFIER


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"vpt_shallow", "vpt_deep"}))
def test_the_model_begins_as_it_was(name: str) -> None:
    assert torch.allclose(features(attached(name)), features(vit()), atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"linear"}))
def test_one_step_of_plain_sgd_changes_what_the_backbone_says(name: str) -> None:
    model = attached(name)
    before = features(model)
    step(model)
    assert (features(model) - before).abs().max() > 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_all_that_is_trained_has_a_gradient_in_the_second_step_and_nothing_else_moves(name: str) -> None:
    model = attached(name)
    frozen = {key: p.clone() for key, p in model.named_parameters() if not p.requires_grad}
    first, second = step(model, num=2)
    assert not [key for key, gradient in second.items() if not gradient.any()]
    still = [key for key, gradient in first.items() if not gradient.any()]
    one_side = {
        "lora": (".a",),
        "kadaptation": (".u", ".s", ".t"),
        "adapter": (".down.", ".norm."),
        "compacter": (".down.", ".norm.", ".rules", ".up.s"),
    }
    assert all(any(part in key for part in one_side.get(name, ())) for key in still)
    assert all(torch.equal(value, dict(model.named_parameters())[key]) for key, value in frozen.items())


@pytest.mark.parametrize("name", METHODS)
def test_a_prediction_does_not_depend_on_batch_mates(name: str) -> None:
    model = attached(name)
    step(model, num=2)
    model.train()  # nor does it while it trains: nothing here has statistics of a batch
    with torch.no_grad():
        together, alone = model(images()), torch.cat([model(one[None]) for one in images()])
        assert torch.allclose(together, alone, atol=1e-5)
        assert torch.allclose(model(images().flip(0)).flip(0), together, atol=1e-5)


@pytest.mark.parametrize("name", sorted(name for name, method in METHODS.items() if method.merges))
def test_merged_equals_unmerged_and_has_timms_names(name: str) -> None:
    model = attached(name)
    step(model, num=2)
    with torch.no_grad():
        before = model(images())
        merge(model)
        assert torch.allclose(model(images()), before, atol=1e-6)
        plain = vit(num_classes=CLASSES)
        plain.load_state_dict(model.state_dict())
        assert torch.allclose(plain(images()), before, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_drawn_depends_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(11)
    one = trained(attached(name))
    torch.manual_seed(12)
    assert all(torch.equal(value, one[key]) for key, value in trained(attached(name)).items())
    other = vit()
    attach(get_method(name).model_validate(SMALL.get(name, {})), other, CLASSES, seed=4)
    assert not all(torch.equal(value, one[key]) for key, value in trained(other).items())


def test_kadaptation_is_the_sum_of_kronecker_products_and_shares_the_slow_factors_alone() -> None:
    model = attached("kadaptation", scale=0.5)
    step(model, num=2)
    before = vit().blocks[1].attn.qkv.weight.chunk(3)
    after = model.blocks[1].attn.qkv.weight.chunk(3)
    query, value = (one.change for one in model.blocks[1].attn.qkv.parametrizations.weight)
    for change, old, new in ((query, before[0], after[0]), (value, before[2], after[2])):
        slow = change.slow
        terms = [torch.kron(torch.outer(slow.s[i], slow.t[i]), torch.outer(change.u[i], change.v[i])) for i in range(8)]
        assert torch.allclose(new - old, 0.5 * sum(terms, torch.zeros(())), atol=1e-6)
    assert torch.equal(before[1], after[1])
    other = model.blocks[2].attn.qkv.parametrizations.weight[0].change
    assert other.slow is query.slow
    assert query.slow is not value.slow
    assert not torch.equal(query.v, value.v)
    assert not torch.equal(query.v, other.v)


def test_kadaptation_adds_one_bias_a_block_to_queries_and_values() -> None:
    model, before = attached("kadaptation"), vit()
    step(model, num=2)
    biases = [block.attn.qkv.parametrizations.bias[0].change.b for block in model.blocks]
    for block, old, bias in zip(model.blocks, before.blocks, biases, strict=True):
        added = (block.attn.qkv.bias - old.attn.qkv.bias).chunk(3)
        assert bias.any()
        torch.testing.assert_close(added[0], bias)
        assert not added[1].any()
        torch.testing.assert_close(added[2], bias)
    assert not torch.equal(biases[0], biases[1])
    bare = attached("kadaptation", bias=False)
    assert sum(p.numel() for p in trained(model).values()) - sum(p.numel() for p in trained(bare).values()) == 96
    unbiased = vit(qkv_bias=False)
    with pytest.raises(UsageError, match=r"attn\.qkv has no bias in this backbone; use bias: false"):
        attach(get_method("kadaptation").model_validate({"num_terms": 8}), unbiased, CLASSES, 3)
    attach(get_method("kadaptation").model_validate({"num_terms": 8, "bias": False}), vit(qkv_bias=False), CLASSES, 3)


def test_kadaptation_takes_any_submodules() -> None:
    model = attached("kadaptation", modules=("projection", "fc1", "fc2"))
    step(model, num=2)
    assert sum(p.numel() for p in trained(model).values()) == CLASSIFIER + 6 * 8**2 + DEPTH * 2 * (WIDTH + WIDTH + MLP)


def test_compacter_is_the_sum_of_kronecker_products() -> None:
    model = attached("compacter")
    step(model)
    down = model.blocks[0].mlp.down
    terms = [torch.kron(down.rules[i], torch.outer(down.s[i], down.t[i])) for i in range(4)]
    assert torch.allclose(down.weight(), sum(terms, torch.zeros(())), atol=1e-6)
    assert model.blocks[2].mlp.up.rules is down.rules


@pytest.mark.parametrize(("name", "approximate"), [("adapter", None), ("compacter", "tanh")])
def test_a_bottleneck_has_its_methods_activation(name: str, approximate: str | None) -> None:
    model = attached(name)
    step(model, num=2)
    one, said = model.blocks[1].mlp, torch.randn(2, TOKENS, WIDTH, generator=torch.Generator().manual_seed(4))
    weights = {
        side: layer.weight() if name == "compacter" else layer.weight
        for side, layer in one.named_children()
        if side in ("down", "up")
    }
    plain = one.mlp(said)
    inner = nn.functional.layer_norm(plain, (WIDTH,), one.norm.weight, one.norm.bias, 1e-6) @ weights["down"].T
    inner = inner + one.down.bias
    hidden = inner.clamp_min(0) if approximate is None else nn.functional.gelu(inner, approximate="tanh")
    torch.testing.assert_close(one(said), plain + hidden @ weights["up"].T + one.up.bias)
    other = nn.functional.gelu(inner) if approximate is None else inner.clamp_min(0)
    assert not torch.allclose(one(said), plain + other @ weights["up"].T + one.up.bias, atol=1e-6)


def test_vpt_keeps_the_tokens_in_their_places() -> None:
    tokens, prompts = torch.randn(2, TOKENS, WIDTH), torch.randn(3, WIDTH)
    places: list[Tensor] = []

    class Block(nn.Identity):
        def forward(self, input: Tensor) -> Tensor:
            places.append(input)
            return input

    assert torch.equal(Prompted(Block(), prompts, 1)(tokens), tokens)
    expected = torch.cat([tokens[:, :1], prompts.expand(2, -1, -1), tokens[:, 1:]], 1)
    assert torch.equal(places[0], expected)
    for name in ("vpt_shallow", "vpt_deep"):
        assert attached(name).forward_features(images()).shape == (6, TOKENS, WIDTH)


def test_copies_do_not_share_what_is_trained() -> None:
    model = attached("kadaptation")
    twin = copy.deepcopy(model)
    step(model)
    assert not torch.equal(twin.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("kadaptation", {"num_terms": 7}, r"num_terms 7 must divide the shape \(32, 32\) of 'query'"),
        ("kadaptation", {"modules": ("keys",)}, r"unknown submodule 'keys' \(did you mean 'key'\?\); choices: query"),
        ("compacter", {"hidden": 9}, "num_terms 4 must divide the width 32 and hidden 9"),
    ],
)
def test_what_does_not_fit_is_said(name: str, config: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        attached(name, **config)


def test_another_kind_of_model_or_method_is_refused() -> None:
    with pytest.raises(UsageError, match="ResNet: expected a vision transformer of timm"):
        attach(get_method("full")(), timm.create_model("test_resnet"), CLASSES, 0)
    with pytest.raises(UsageError, match=r"unknown method 'lorra' \(did you mean 'lora'\?\); choices: full, linear"):
        get_method("lorra")


def test_a_subspace_has_orthonormal_directions() -> None:
    model = attached("subspace", dimension=6, module="fc1")
    changes = [block.mlp.fc1.parametrizations.weight[0].change for block in model.blocks]
    rows = torch.cat([torch.nn.functional.one_hot(one.places, 6) * one.scales[:, None] for one in changes])
    assert torch.allclose(rows.T @ rows, torch.eye(6), atol=1e-5)
    assert all(one.z is changes[0].z for one in changes)


def test_a_subspace_of_dimension_0_is_all_of_the_submodule() -> None:
    model = attached("subspace", dimension=0, module="value")
    assert sum(p.numel() for p in trained(model).values()) == DEPTH * WIDTH**2 + CLASSIFIER
