"""Every family, by the one contract."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from icecore.store import LayerSpec, UsageError
from icecore.train.adapters import ADAPTERS, get_adapter
from icecore.train.adapters.adapter import Adapter, Scope
from icecore.train.sweep.forward import forward
from icecore.train.tokens.batch import Reads, TokenBatch, make_batch

from ..conftest import FROZEN, NORM, SPEC, WIDTH

SPECS = {0: SPEC, 1: SPEC, 2: SPEC}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("linear", {}),
    ("linear", {"pooling": "cls+mean", "norm": "none"}),
    ("linear", {"pooling": "cls+mean", "num_layers": 2}),
    ("ridge", {"pooling": "mean"}),
    ("inca", {"num_heads": 4}),
    ("inca", {"num_heads": 2, "tokens": "patches"}),
    ("inca", {"num_queries": 3, "num_heads": 2, "input_affine": True}),
    ("synqt", {"num_queries": 2}),
    ("head2toe", {"num_features": 32}),
    ("vqt", {}),
    ("vqt", {"num_queries": 3, "keep": 0.5}),
    ("losa", {"rank": 2, "side_pooling": "mean"}),
    ("losa", {"rank": 3, "gate": True, "accumulate": False, "norm": False, "frames": 7}),
    ("attentive", {"num_heads": 4, "num_layers": 2}),
    ("attentive", {"num_heads": 2, "num_queries": 20}),
    ("attentive", {"form": "vjepa", "num_heads": 2}),
    ("attentive", {"form": "vjepa", "num_heads": 2, "depth": 3}),
    ("efficient", {"num_slices": 4}),
    ("efficient", {"num_slices": 2, "divisor": 4, "norm": True}),
    ("efficient", {"num_slices": 4, "tokens": "patches"}),
    ("open_inca", {"num_heads": 4}),
    ("open_inca", {"num_heads": 4, "scale": 8.0}),
    ("lst", {"reduction": 2}),
    ("lst", {"reduction": 4, "block": "mlp", "side_pooling": "cls"}),
    ("mist", {"rank": 3}),
]
EVERY = pytest.mark.parametrize(("name", "options"), CASES)


def make(name: str, options: dict[str, Any], seeds: list[int]) -> Adapter:
    family = get_adapter(name)
    config = family.Config.model_validate(options)
    layers = family.layer_groups(config, tuple(SPECS))[-1]
    scope = Scope(layers, {layer: SPECS[layer] for layer in layers}, 5, FROZEN)
    config = family.resolve(config, scope)
    assert family.incompatibility(config, scope) is None
    return family.build(config, scope, seeds)


def see(
    num_rows: int = 6, reads: frozenset[Reads] = frozenset({"features"}), rows: Sequence[int] | slice = slice(None)
) -> TokenBatch:
    """Return some of the rows of a batch of noise."""
    generator = torch.Generator().manual_seed(3)
    tokens = {layer: torch.randn(num_rows, SPEC.num_tokens, WIDTH, generator=generator)[rows] for layer in (2, 1, 0)}
    return make_batch(tokens, SPECS, 1e-6, reads)


def away_from_zero(stack: Adapter) -> Adapter:
    """Move parameters that begin at zero: behind them nothing shows, and nothing learns at first."""
    for parameter in stack.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 10
    return stack


def test_every_family_has_a_case() -> None:
    assert {name for name, _ in CASES} == set(ADAPTERS)


@EVERY
def test_a_stack_says_what_each_of_it_says_alone(name: str, options: dict[str, Any]) -> None:
    stack = make(name, options, [7, 8, 9])
    seen = see(reads=stack.reads)
    together = forward([stack], seen)[0]
    assert together.shape == (3, 6, 5)
    for index, seed in enumerate([7, 8, 9]):
        torch.testing.assert_close(forward([make(name, options, [seed])], seen)[0][0], together[index])
        torch.testing.assert_close(forward([stack.subset([index])], seen)[0][0], together[index])


@EVERY
def test_a_row_does_not_depend_on_its_batch_mates(name: str, options: dict[str, Any]) -> None:
    stack = away_from_zero(make(name, options, [1, 2]))
    whole = forward([stack], see(6, stack.reads))[0]
    assert not torch.allclose(whole[:, 2], whole[:, 5], atol=1e-3)  # rows differ, so that mates could show
    for rows in ([2], [5, 2], [3, 4, 0, 2]):
        part = forward([stack], see(6, stack.reads, rows))[0]
        torch.testing.assert_close(part, whole[:, rows], atol=1e-5, rtol=1e-4)


@EVERY
def test_every_parameter_has_the_adapter_axis_and_learns(name: str, options: dict[str, Any]) -> None:
    stack = away_from_zero(make(name, options, [1, 2]))
    loss = forward([stack], see(6, stack.reads))[0][..., 0].sum()  # of one class: sums over classes can cancel
    gradients = torch.autograd.grad(loss, list(stack.parameters()))
    for (parameter_name, parameter), gradient in zip(stack.named_parameters(), gradients, strict=True):
        assert len(parameter) == 2, parameter_name
        assert (gradient.view(2, -1).abs().amax(1) > 0).all(), parameter_name


def test_inca_has_one_full_width_attention_and_a_classifier() -> None:
    stack = make("inca", {"num_heads": 4, "num_queries": 2}, [0])
    attention = 4 * WIDTH * WIDTH + 3 * WIDTH  # the key bias is nothing: the softmax removes it
    assert stack.num_parameters == attention + 2 * WIDTH + 2 * WIDTH + 5 * WIDTH + 5


def test_patches_are_all_that_is_seen_where_that_is_asked() -> None:
    stack = make("inca", {"num_heads": 4, "tokens": "patches"}, [1])
    seen, other = see(reads=stack.reads), see(reads=stack.reads)
    other.normalised[2][:, 0] += 1
    assert torch.equal(forward([stack], seen)[0], forward([stack], other)[0])
    other.normalised[2][:, 1] += 1
    assert not torch.equal(forward([stack], seen)[0], forward([stack], other)[0])
    everything = make("inca", {"num_heads": 4}, [1])
    assert everything.num_parameters == stack.num_parameters


@pytest.mark.parametrize("norm", ["final", "none"])
def test_the_linear_probe_of_the_last_layers_has_their_cls_and_the_mean_of_the_last(norm: str) -> None:
    stack = make("linear", {"pooling": "cls+mean", "num_layers": 2, "norm": norm}, [0])
    seen = see(reads=frozenset({"features", "tokens"}))
    tokens = torch.nn.Identity() if norm == "none" else torch.nn.LayerNorm(WIDTH, eps=1e-6)
    if norm == "final":
        tokens.load_state_dict({name.removeprefix("norm."): tensor for name, tensor in NORM.items()})
    first, last = tokens(seen.tokens[1]), tokens(seen.tokens[2])
    features = torch.cat([first[:, 0], last[:, 0], last[:, 1:].mean(1)], 1)
    expected = features @ stack.get_parameter("weight")[0].T + stack.get_parameter("bias")[0]
    torch.testing.assert_close(stack(seen)[0], expected)


def test_heads_are_64_wide_unless_told() -> None:
    family = get_adapter("inca")
    scope = Scope((2,), {2: LayerSpec(num_tokens=7, width=192, num_prefix=1, grid=None)}, 5, FROZEN)
    assert family.resolve(family.Config(), scope).model_dump()["num_heads"] == 3


def test_the_linear_probe_sees_the_backbones_own_output() -> None:
    """With the final norm, CLS of the last layer is what the backbone itself would hand to its head."""
    stack = make("linear", {"pooling": "cls"}, [0])
    tokens = torch.randn(6, SPEC.num_tokens, WIDTH, generator=torch.Generator().manual_seed(3))
    final = torch.nn.functional.layer_norm(tokens[:, 0], (WIDTH,), NORM["norm.weight"], NORM["norm.bias"], 1e-6)
    expected = final @ stack.get_parameter("weight")[0].T + stack.get_parameter("bias")[0]
    torch.testing.assert_close(stack(see())[0], expected)


def test_an_unknown_family_is_answered_with_the_choices() -> None:
    with pytest.raises(UsageError, match=r"unknown adapter 'incca' \(did you mean 'inca'\?\); choices: linear, inca"):
        get_adapter("incca")
