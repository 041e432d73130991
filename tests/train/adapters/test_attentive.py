"""The attentive probes against their formulas, in plain modules of torch."""

from typing import Any

import pytest
import torch
from torch import nn

from icecore.store import LayerSpec
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.attentive import Attentive, AttentiveConfig
from icecore.train.modules.noise import Noise
from icecore.train.tokens.batch import TokenBatch

from ..conftest import FROZEN

WIDTH, LAYERS = 12, (3, 4)
SPEC = LayerSpec(num_tokens=7, width=WIDTH, num_prefix=1, grid=(2, 3))


def start(num_classes: int = 5, **options: Any) -> Attentive:
    config = AttentiveConfig(num_heads=3, **options)
    scope = Scope(LAYERS[-config.num_layers :], dict.fromkeys(LAYERS[-config.num_layers :], SPEC), num_classes, FROZEN)
    stack = Attentive.build(config, scope, [1, 2])
    assert isinstance(stack, Attentive)
    for parameter in stack.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 5
    return stack


def see() -> TokenBatch:
    generator = torch.Generator().manual_seed(1)
    return TokenBatch(tokens={layer: torch.randn(6, 7, WIDTH, generator=generator) * 2 + 1 for layer in LAYERS})


def split(values: torch.Tensor) -> torch.Tensor:
    return values.unflatten(-1, (3, -1)).transpose(-3, -2)


@pytest.mark.parametrize("num_queries", [5, 6])  # folded and not: 6 x 2 = 12
@pytest.mark.parametrize("training", [True, False])
def test_aim_is_its_formula(num_queries: int, training: bool) -> None:
    stack, seen = start(num_layers=2, num_queries=num_queries, norm="own"), see()
    norm = nn.BatchNorm1d(WIDTH, eps=1e-6, affine=False)
    mean = torch.stack([seen.tokens[layer] for layer in LAYERS]).mean(0)
    for _ in range(3):
        stack.noise = Noise([1, 2], 0, [0.0, 0.0])
        stack(seen)
        norm(mean.transpose(1, 2))
    stack.noise = Noise([1, 2], 0, [0.0, 0.0]) if training else None
    norm.train(training)
    found, z = stack(seen), norm(mean.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(stack.get_buffer("running_variance")[1], norm.running_var)
    for index in range(2):
        mine = {name: tensor[index] for name, tensor in stack.tensors().items()}
        keys, values = split(z @ mine["key_weight"].T), split(z @ mine["value_weight"].T)
        share = torch.softmax(split(mine["query"]) @ keys.transpose(-1, -2) / 2, -1)  # heads of 4 channels
        gathered = (share @ values).transpose(-3, -2).flatten(-2).mean(-2)
        torch.testing.assert_close(found[index], gathered @ mine["weight"].T)


@pytest.mark.parametrize("num_queries", [1, 6])
def test_aim_with_layer_norms_is_its_formula(num_queries: int) -> None:
    stack, seen = start(num_queries=num_queries, norm="layer"), see()
    found, z = stack(seen), nn.functional.layer_norm(seen.tokens[4], (WIDTH,), eps=1e-6)
    for index in range(2):
        mine = {name: tensor[index] for name, tensor in stack.tensors().items()}
        keys, values = split(z @ mine["key_weight"].T), split(z @ mine["value_weight"].T)
        share = torch.softmax(split(mine["query"]) @ keys.transpose(-1, -2) / 2, -1)
        gathered = (share @ values).transpose(-3, -2).flatten(-2)
        gathered = nn.functional.layer_norm(gathered, (WIDTH,), eps=1e-6).mean(-2)
        torch.testing.assert_close(found[index], gathered @ mine["weight"].T)


def attended(mine: dict[str, torch.Tensor], queries: torch.Tensor, tokens: torch.Tensor, prefix: str) -> torch.Tensor:
    """Multi-head attention in a plain module, its output not projected; prefix "" has no key bias."""
    if prefix:
        joint, bias = mine[f"{prefix}joint_weight"], mine[f"{prefix}joint_bias"]
    else:
        joint = torch.cat([mine[f"{name}_weight"] for name in ("query", "key", "value")])
        bias = torch.cat([mine["query_bias"], torch.zeros(WIDTH), mine["value_bias"]])
    attention = nn.MultiheadAttention(WIDTH, 3, batch_first=True)
    out = {"out_proj.weight": torch.eye(WIDTH), "out_proj.bias": torch.zeros(WIDTH)}
    attention.load_state_dict({"in_proj_weight": joint, "in_proj_bias": bias, **out})
    return attention(queries, tokens, tokens, need_weights=False)[0]


def thought(mine: dict[str, torch.Tensor], values: torch.Tensor, prefix: str) -> torch.Tensor:
    hidden = nn.functional.gelu(values @ mine[f"{prefix}expand_weight"].T + mine[f"{prefix}expand_bias"])
    return hidden @ mine[f"{prefix}contract_weight"].T + mine[f"{prefix}contract_bias"]


def normed(mine: dict[str, torch.Tensor], values: torch.Tensor, where: str, eps: float = 1e-5) -> torch.Tensor:
    return nn.functional.layer_norm(values, (WIDTH,), 1 + mine[f"{where}_gain"], mine[f"{where}_beta"], eps)


@pytest.mark.parametrize("num_queries", [1, 6])
@pytest.mark.parametrize("norm", ["own", "layer"])
@pytest.mark.parametrize("depth", [1, 4])
def test_vjepa_is_its_formula(num_queries: int, norm: str, depth: int) -> None:
    stack, seen = start(form="vjepa", num_queries=num_queries, norm=norm, depth=depth), see()
    seen.tokens[4].mul_(3e-3).requires_grad_()  # where the eps of a norm is seen
    found = stack(seen)
    for index in range(2):
        mine = {name: tensor[index].detach() for name, tensor in stack.tensors().items()}
        x = seen.tokens[4]
        for block in range(depth - 1):
            here = f"block{block}_"
            inner = normed(mine, x, f"{here}first")
            gathered = attended(mine, inner, inner, here)
            x = x + gathered @ mine[f"{here}out_weight"].T + mine[f"{here}out_bias"]
            x = x + thought(mine, normed(mine, x, f"{here}second"), here)
        queries = mine["query"].expand(6, -1, -1)
        out = queries + attended(mine, queries, normed(mine, x, "input"), "")
        out = out + thought(mine, normed(mine, out, "norm"), "")
        out = (nn.functional.layer_norm(out, (WIDTH,), eps=1e-6) if norm == "layer" else out).mean(1)
        expected = out @ mine["weight"].T + mine["bias"]
        torch.testing.assert_close(found[index], expected, rtol=1e-4, atol=1e-4)
        ours, theirs = (
            torch.autograd.grad(one[:, 0].sum(), seen.tokens[4], retain_graph=True)[0]
            for one in (found[index], expected)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_vjepa_probe_that_an_earlier_version_recorded_is_projected_as_it_was() -> None:
    config = Attentive.recorded({"form": "vjepa", "norm": "own", "num_layers": 1, "num_queries": 1, "num_heads": 3})
    assert isinstance(config, AttentiveConfig)
    scope, seen = Scope((4,), {4: SPEC}, 5, FROZEN), see()
    stack = Attentive.build(config, scope, [1, 2])
    for parameter in stack.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 5
    mine, found = {name: tensor[1].detach() for name, tensor in stack.tensors().items()}, stack(seen)[1]
    queries = mine["query"].expand(6, -1, -1)
    gathered = attended(mine, queries, normed(mine, seen.tokens[4], "input", 1e-6), "")
    out = queries + gathered @ mine["out_weight"].T + mine["out_bias"]
    out = out + thought(mine, normed(mine, out, "norm", 1e-6), "")
    torch.testing.assert_close(found, out.mean(1) @ mine["weight"].T + mine["bias"])


def test_the_number_of_parameters() -> None:
    assert start().num_parameters == WIDTH + 2 * WIDTH**2 + 5 * WIDTH
    biases = 2 * WIDTH + 4 * WIDTH + WIDTH  # query, value; MLP
    plain = WIDTH + 11 * WIDTH**2 + biases + 4 * WIDTH + 5 * WIDTH + 5
    assert start(form="vjepa").num_parameters == plain
    assert start(form="vjepa", depth=4).num_parameters == plain + 3 * (12 * WIDTH**2 + 13 * WIDTH)
    wide = LayerSpec(num_tokens=7, width=192, num_prefix=1, grid=(2, 3))
    config = AttentiveConfig(form="vjepa", num_heads=3)
    assert Attentive.build(config, Scope((4,), {4: wide}, 5, FROZEN), [1]).num_parameters == 408_773


def test_blocks_are_of_vjepa_alone() -> None:
    scope = Scope((4,), {4: SPEC}, 5, FROZEN)
    for config in (AttentiveConfig(num_heads=3, depth=4), AttentiveConfig(num_heads=3, projected=True)):
        reason = Attentive.incompatibility(config, scope)
        assert reason is not None
        assert reason.startswith("form aim has no blocks and no output projection")


def test_every_run_of_neighbours_is_probed() -> None:
    config = AttentiveConfig(num_layers=3)
    assert Attentive.layer_groups(config, (0, 1, 2, 5, 6)) == [(0, 1, 2), (1, 2, 5), (2, 5, 6)]
    scope = Scope((0, 1), dict.fromkeys((0, 1), SPEC), 5, FROZEN)
    assert Attentive.layer_groups(config, (0, 1)) == [(0, 1)]
    reason = Attentive.incompatibility(config.model_copy(update={"num_heads": 3}), scope)
    assert reason is not None
    assert reason.startswith("it reads 3 layers together, and the sweep has [0, 1]; choose more --layers")
