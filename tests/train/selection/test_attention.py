"""Attention weights, shown: they are the ones that the forward uses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icecore.store import LayerSpec, open_store
from icecore.train import TrainSettings, train
from icecore.train.adapters import get_adapter
from icecore.train.adapters.adapter import Adapter, Scope
from icecore.train.modules.folded import project
from icecore.train.selection.attention import attention, stored_attention
from icecore.train.sweep.forward import forward
from icecore.train.tokens.batch import TokenBatch, make_batch

from ..conftest import FROZEN, MakeStore

SPEC = LayerSpec(num_tokens=10, width=24, num_prefix=1, grid=(3, 3))
CASES = [
    ("inca", {"num_queries": 2, "num_heads": 3}),
    ("inca", {"num_heads": 2, "tokens": "patches"}),
    ("inca", {"num_heads": 4, "input_affine": True}),
    ("open_inca", {"num_heads": 3}),
    ("attentive", {"num_heads": 2, "num_queries": 3}),
    ("attentive", {"num_heads": 3, "form": "vjepa"}),
    ("attentive", {"num_heads": 3, "norm": "own"}),
]


def start(name: str, config: dict[str, object]) -> tuple[Adapter, TokenBatch]:
    family, scope = get_adapter(name), Scope((2,), {2: SPEC}, 5, FROZEN)
    stack = family.build(family.Config.model_validate(config), scope, [0, 1])
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 5
    tokens = torch.randn(7, 10, 24, generator=torch.Generator().manual_seed(1))
    return stack, make_batch({2: tokens}, scope.specs, 1e-6, frozenset({"normalised", "tokens"}))


@pytest.mark.parametrize(("name", "config"), CASES)
def test_the_weights_of_every_head_sum_to_one(name: str, config: dict[str, object]) -> None:
    weights = attention(*start(name, config))
    assert weights is not None
    assert weights.shape[:2] == (2, 7)
    assert weights.shape[3:] == (config["num_heads"], 10)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert bool((weights[..., 0] == 0).all()) == (config.get("tokens") == "patches")


@torch.no_grad()
def test_what_they_gather_gives_the_adapters_own_outputs() -> None:
    stack, seen = start("inca", {"num_queries": 2, "num_heads": 3})
    weights = attention(stack, seen)
    assert weights is not None
    pooled = torch.einsum("arqht,rtw->arqhw", weights, seen.normalised[2]).flatten(2, 3)
    torch.testing.assert_close(stack(replace(seen, pooled={2: pooled})), forward([stack], seen)[0])


@torch.no_grad()
def test_they_are_those_of_projected_queries_and_keys() -> None:
    stack, seen = start("open_inca", {"num_heads": 3})
    query, key = (stack.get_parameter(name) for name in ("query_weight", "key_weight"))
    queries = project(stack.get_parameter("query"), query) + stack.get_parameter("query_bias")[:, None]
    keys = torch.einsum("awv,rtv->artw", key, seen.normalised[2]).unflatten(-1, (3, 8))
    logits = torch.einsum("aqhd,arthd->arqht", queries.unflatten(-1, (3, 8)), keys) / 8**0.5
    torch.testing.assert_close(attention(stack, seen), logits.softmax(-1))


def test_a_family_without_queries_of_its_own_has_none() -> None:
    assert attention(*start("linear", {})) is None


def test_it_is_read_from_a_store_in_the_order_that_is_asked(make_store: MakeStore, tmp_path) -> None:
    store, settings = make_store(), TrainSettings(adapters=("inca",), layers="2", lr=(1e-3,), epochs=1)
    run = train(store, str(tmp_path / "run"), settings)
    key, candidate = next(iter(run.candidates.items()))
    rows = np.array([5, 1, 3])
    weights = stored_attention(open_store(store), candidate, run.tensors()[key], rows)
    again = stored_attention(open_store(store), candidate, run.tensors()[key], rows[::-1].copy())
    assert weights is not None
    assert again is not None
    torch.testing.assert_close(weights, again.flip(0))
