"""Efficient probing against its formula; every query pools its own channels."""

from typing import Any

import pytest
import torch
from torch import nn

from icecore.store import LayerSpec
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.efficient import Efficient, EfficientConfig
from icecore.train.modules.noise import Noise
from icecore.train.tokens.batch import TokenBatch

from ..conftest import FROZEN

WIDTH = 12
SPEC = LayerSpec(num_tokens=7, width=WIDTH, num_prefix=1, grid=(2, 3))
SCOPE = Scope((2,), {2: SPEC}, 5, FROZEN)


def start(**options: Any) -> Efficient:
    config = EfficientConfig(**options)
    stack = Efficient.build(config, SCOPE, [1, 2])
    assert isinstance(stack, Efficient)
    stack.query.data *= 20 if config.scaled else 5
    return stack


def see() -> TokenBatch:
    return TokenBatch(tokens={2: torch.randn(6, 7, WIDTH, generator=torch.Generator().manual_seed(1))})


@pytest.mark.parametrize(("num_slices", "divisor"), [(1, 1), (3, 1), (12, 1), (3, 2), (6, 2)])
@pytest.mark.parametrize("published", [True, False])
def test_it_is_its_formula(num_slices: int, divisor: int, published: bool) -> None:
    ways = {"norm": not published, "scaled": published}
    stack, seen = start(num_slices=num_slices, divisor=divisor, **ways), see()
    norms = [nn.BatchNorm1d(WIDTH // divisor, eps=1e-6, affine=False) for _ in range(2)]
    for training in (True, True, False):
        stack.noise = Noise([1, 2], 0, [0.0, 0.0]) if training else None
        found, tokens = stack(seen), seen.tokens[2]
        tokens = tokens if published else nn.functional.layer_norm(tokens, (WIDTH,), eps=1e-6)
        for index, norm in enumerate(norms):
            mine = {name: tensor[index] for name, tensor in stack.tensors().items()}
            logits = mine["query"] @ tokens.transpose(1, 2)
            share = torch.softmax(logits / WIDTH**0.5 if published else logits, -1)
            slices = (tokens @ mine["value_weight"].T).unflatten(2, (num_slices, -1))
            gathered = torch.einsum("rsn,rnsi->rsi", share, slices).flatten(1)
            torch.testing.assert_close(found[index], norm.train(training)(gathered) @ mine["weight"].T + mine["bias"])


@pytest.mark.parametrize("norm", [True, False])
def test_patches_are_all_that_is_seen_where_that_is_asked(norm: bool) -> None:
    stack, seen = start(num_slices=3, tokens="patches", norm=norm), see()
    patches = TokenBatch(tokens={2: seen.tokens[2][:, 1:]})
    everything = Efficient(EfficientConfig(num_slices=3, norm=norm), SCOPE, stack.tensors())
    torch.testing.assert_close(stack(seen), everything(patches))
    assert not torch.allclose(stack(seen), everything(seen))
    assert EfficientConfig().tokens == "all"


def test_the_number_of_parameters() -> None:
    assert start(num_slices=3, divisor=2).num_parameters == 3 * WIDTH + WIDTH * 6 + 5 * 6 + 5


def test_slices_must_be_equal() -> None:
    reason = Efficient.incompatibility(EfficientConfig(num_slices=5), SCOPE)
    assert reason is not None
    assert reason.startswith("5 slices of the width 12 / divisor 1: expected equal ones")
