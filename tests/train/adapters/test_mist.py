"""MIST against its formula; it needs the sum of the layers, and nothing else of them."""

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from icecore.store import LayerSpec
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.mist import MIST, MISTConfig
from icecore.train.tokens.batch import TokenBatch

from ..conftest import FROZEN

WIDTH, LAYERS = 12, (1, 2, 3)
SPEC = LayerSpec(num_tokens=7, width=WIDTH, num_prefix=1, grid=(2, 3))


def start(config: MISTConfig, layers: tuple[int, ...] = LAYERS) -> MIST:
    stack = MIST.build(config, Scope(layers, dict.fromkeys(layers, SPEC), 5, FROZEN), [1, 2])
    assert isinstance(stack, MIST)
    return stack


def away(stack: MIST) -> MIST:
    for parameter in stack.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 5
    return stack


def see() -> TokenBatch:
    generator = torch.Generator().manual_seed(1)
    return TokenBatch(tokens={layer: torch.randn(4, 7, WIDTH, generator=generator) for layer in LAYERS})


def ln(values: torch.Tensor) -> torch.Tensor:
    return layer_norm(values, values.shape[-1:], eps=1e-6)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_it_is_its_formula(pooling: str) -> None:
    stack, seen = away(start(MISTConfig.model_validate({"rank": 3, "side_pooling": pooling}))), see()
    found = stack(seen)
    for index in range(2):
        mine = {name: tensor[index] for name, tensor in stack.tensors().items()}
        z = ln(seen.tokens[1] + seen.tokens[2] + seen.tokens[3])
        for block in range(2):
            q, k, v = (ln(z) @ mine["attention_down"][block].T).chunk(3, -1)
            z = z + torch.softmax(q @ k.transpose(1, 2) / 3**0.5, -1) @ v @ mine["attention_up"][block].T
            z = z + gelu(ln(z) @ mine["mlp_down"][block].T) @ mine["mlp_up"][block].T
        pooled = ln(z)[:, 0] if pooling == "cls" else ln(z)[:, 1:].mean(1)
        torch.testing.assert_close(found[index], pooled @ mine["weight"].T + mine["bias"])


def test_the_sum_as_one_layer_says_the_same() -> None:
    stack, seen = away(start(MISTConfig(rank=3))), see()
    summed = MIST(stack.config, Scope((0,), {0: SPEC}, 5, FROZEN), stack.tensors())
    total = torch.stack(list(seen.tokens.values())).sum(0)
    torch.testing.assert_close(summed(TokenBatch(tokens={0: total})), stack(seen))
    assert MIST.layer_groups(stack.config, (0, 1, 2, 3)) == [(1, 2, 3)]
    assert MIST.layer_groups(stack.config, (0,)) == [(0,)]


def test_it_begins_as_a_linear_probe_on_the_sum() -> None:
    stack, seen = start(MISTConfig()), see()
    pooled = ln(ln(torch.stack(list(seen.tokens.values())).sum(0)))[:, 0]
    torch.testing.assert_close(stack(seen), pooled @ stack.weight.transpose(1, 2))


def test_the_number_of_parameters() -> None:
    assert start(MISTConfig(rank=3, depth=2)).num_parameters == 2 * 6 * 3 * WIDTH + 5 * WIDTH + 5
