"""Ladder side tuning against its formula, in plain products."""

from typing import Any

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from icecore.store import LayerSpec
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.lst import LST, LSTConfig
from icecore.train.tokens.batch import TokenBatch

from ..conftest import FROZEN

WIDTH, LAYERS = 12, (1, 2, 3)
SPEC = LayerSpec(num_tokens=7, width=WIDTH, num_prefix=1, grid=(2, 3))
SCOPE = Scope(LAYERS, dict.fromkeys(LAYERS, SPEC), 5, FROZEN)
WITH_EMBEDDINGS = Scope((0, *LAYERS), dict.fromkeys((0, *LAYERS), SPEC), 5, FROZEN)


def start(scope: Scope = SCOPE, **options: Any) -> LST:
    stack = LST.build(LSTConfig(reduction=2, **options), scope, [1, 2])
    assert isinstance(stack, LST)
    for parameter in stack.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 10
    return stack


def see() -> TokenBatch:
    generator = torch.Generator().manual_seed(1)
    return TokenBatch(normalised={layer: torch.randn(4, 7, WIDTH, generator=generator) for layer in (0, *LAYERS)})


@pytest.mark.parametrize("block", ["attention", "mlp"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("scope", [SCOPE, WITH_EMBEDDINGS])
def test_it_is_its_formula(block: str, pooling: str, scope: Scope) -> None:
    stack, seen = start(scope, block=block, side_pooling=pooling), see()
    found = stack(seen)

    def ln(values: torch.Tensor) -> torch.Tensor:
        return layer_norm(values, values.shape[-1:], eps=1e-6)

    for index in range(2):
        mine = {name: tensor[index] for name, tensor in stack.tensors().items()}

        def linear(name: str, rung: int, values: torch.Tensor, mine: dict[str, torch.Tensor] = mine) -> torch.Tensor:
            return values @ mine[f"{name}_weight"][rung].T + mine[f"{name}_bias"][rung]

        first = int(scope is WITH_EMBEDDINGS)
        s = linear("down", 0, seen.normalised[0]) if first else torch.zeros(1)
        for rung, layer in enumerate(LAYERS):
            g = torch.sigmoid(mine["gate"][rung] / 0.1)
            s = g * linear("down", first + rung, seen.normalised[layer]) + (1 - g) * s
            if block == "attention":
                q, k, v = linear("joint", rung, ln(s)).chunk(3, -1)
                s = s + linear("out", rung, torch.softmax(q @ k.transpose(1, 2) / 6**0.5, -1) @ v)
            s = s + linear("contract", rung, gelu(linear("expand", rung, ln(s))))
        pooled = ln(s)[:, 0] if pooling == "cls" else ln(s)[:, 1:].mean(1)
        torch.testing.assert_close(found[index], pooled @ mine["weight"].T + mine["bias"])


def test_the_gates_begin_half_open() -> None:
    stack = LST.build(LSTConfig(reduction=2), SCOPE, [1])
    assert torch.equal(stack.get_parameter("gate"), torch.zeros(1, 3))
    assert LST.layer_groups(LSTConfig(every=2), (0, 1, 2, 3)) == [(0, 1, 3)]
    assert LST.layer_groups(LSTConfig(), (1, 2, 3)) == [(1, 2, 3)]
    assert LST.layer_groups(LSTConfig(), (0,)) == [(0,)]


def test_the_number_of_parameters() -> None:
    w = WIDTH // 2
    a_rung = 1 + w * WIDTH + w + 4 * w * w + 4 * w + 8 * w * w + 5 * w
    assert start().num_parameters == 3 * a_rung + 5 * w + 5
    assert start(WITH_EMBEDDINGS).num_parameters == start().num_parameters + w * WIDTH + w
    assert start(block="mlp").num_parameters == 3 * (a_rung - 4 * w * w - 4 * w) + 5 * w + 5


def test_the_reduction_divides_the_width() -> None:
    assert LST.incompatibility(LSTConfig(reduction=5), SCOPE) == "reduction 5: expected a divisor of the width 12"
