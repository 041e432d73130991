"""The attentive probes against their formulas, in plain modules of torch."""

from typing import Any

import pytest
import torch
from torch import nn

from icecore.store import LayerSpec
from icecore.train.adapter import Scope
from icecore.train.adapters.attentive import Attentive, AttentiveConfig
from icecore.train.noise import Noise
from icecore.train.seen import Seen

from .conftest import FROZEN

WIDTH, LAYERS = 12, (3, 4)
SPEC = LayerSpec(num_tokens=7, width=WIDTH, num_prefix=1, grid=(2, 3))


def start(num_classes: int = 5, **options: Any) -> Attentive:
    config = AttentiveConfig(num_heads=3, **options)
    scope = Scope(LAYERS[-config.num_layers :], dict.fromkeys(LAYERS[-config.num_layers :], SPEC), num_classes, FROZEN)
    stack = Attentive.start(config, scope, [1, 2])
    assert isinstance(stack, Attentive)
    for parameter in stack.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 5
    return stack


def see() -> Seen:
    generator = torch.Generator().manual_seed(1)
    return Seen(tokens={layer: torch.randn(6, 7, WIDTH, generator=generator) * 2 + 1 for layer in LAYERS})


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


@pytest.mark.parametrize("num_queries", [1, 6])
@pytest.mark.parametrize("norm", ["own", "layer"])
def test_vjepa_is_its_formula(num_queries: int, norm: str) -> None:
    stack, seen = start(form="vjepa", num_queries=num_queries, norm=norm), see()
    found = stack(seen)
    for index in range(2):
        mine = {name: tensor[index].detach() for name, tensor in stack.tensors().items()}
        attention = nn.MultiheadAttention(WIDTH, 3, batch_first=True)
        joint = torch.cat([mine[f"{name}_weight"] for name in ("query", "key", "value")])
        bias = torch.cat([mine["query_bias"], torch.zeros(WIDTH), mine["value_bias"]])
        state = {"in_proj_weight": joint, "in_proj_bias": bias}
        attention.load_state_dict(state | {"out_proj.weight": mine["out_weight"], "out_proj.bias": mine["out_bias"]})
        normed = nn.functional.layer_norm(seen.tokens[4], (WIDTH,), 1 + mine["input_gain"], mine["input_beta"], 1e-6)
        queries = mine["query"].expand(6, -1, -1)
        out = queries + attention(queries, normed, normed, need_weights=False)[0]
        inner = nn.functional.layer_norm(out, (WIDTH,), 1 + mine["norm_gain"], mine["norm_beta"], 1e-6)
        hidden = nn.functional.gelu(inner @ mine["expand_weight"].T + mine["expand_bias"])
        out = out + hidden @ mine["contract_weight"].T + mine["contract_bias"]
        out = (nn.functional.layer_norm(out, (WIDTH,), eps=1e-6) if norm == "layer" else out).mean(1)
        torch.testing.assert_close(found[index], out @ mine["weight"].T + mine["bias"])


def test_the_number_of_parameters() -> None:
    assert start().num_parameters == WIDTH + 2 * WIDTH**2 + 5 * WIDTH
    biases = 3 * WIDTH + 4 * WIDTH + WIDTH  # query, value, out; MLP
    assert start(form="vjepa").num_parameters == WIDTH + 12 * WIDTH**2 + biases + 4 * WIDTH + 5 * WIDTH + 5


def test_every_run_of_neighbours_is_probed() -> None:
    config = AttentiveConfig(num_layers=3)
    assert Attentive.spans(config, (0, 1, 2, 5, 6)) == [(0, 1, 2), (1, 2, 5), (2, 5, 6)]
    scope = Scope((0, 1), dict.fromkeys((0, 1), SPEC), 5, FROZEN)
    assert Attentive.spans(config, (0, 1)) == [(0, 1)]
    reason = Attentive.refuse(config.model_copy(update={"num_heads": 3}), scope)
    assert reason is not None
    assert reason.startswith("it reads 3 layers together, and the sweep has [0, 1]; choose more --layers")
