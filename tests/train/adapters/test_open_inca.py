"""Open-InCA: no class hears of another, to the last bit; the fold is a matter of cost."""

import pytest
import torch

from icecore.store import LayerSpec
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.open_inca import PER_CLASS, OpenInCA, OpenInCAConfig
from icecore.train.modules.noise import Noise
from icecore.train.sweep.forward import forward
from icecore.train.tokens.batch import TokenBatch, make_batch

from ..conftest import FROZEN


def scope_of(num_classes: int, width: int = 24) -> Scope:
    spec = LayerSpec(num_tokens=37, width=width, num_prefix=1, grid=(6, 6))
    return Scope((2,), {2: spec}, num_classes, FROZEN)


def start(num_classes: int, num_adapters: int = 1, width: int = 24, num_heads: int = 3) -> OpenInCA:
    seeds = list(range(num_adapters))
    stack = OpenInCA.build(OpenInCAConfig(num_heads=num_heads), scope_of(num_classes, width), seeds)
    assert isinstance(stack, OpenInCA)
    for parameter in stack.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 10
    return stack


def with_classes(stack: OpenInCA, classes: list[int]) -> OpenInCA:
    """Return the same adapters with some of their classes, in some order."""
    tensors = {name: t[:, classes] if name in PER_CLASS else t for name, t in stack.tensors().items()}
    return OpenInCA(stack.config, scope_of(len(classes), stack.scope.spec.width), tensors)


def see(width: int = 24, num_rows: int = 9) -> TokenBatch:
    tokens = torch.randn(num_rows, 37, width, generator=torch.Generator().manual_seed(1))
    return make_batch({2: tokens}, scope_of(1, width).specs, 1e-6, frozenset({"normalised"}))


@torch.no_grad()
def logits(stack: OpenInCA, seen: TokenBatch) -> torch.Tensor:
    return forward([stack], seen)[0]


@pytest.mark.parametrize("num_adapters", [1, 3])
@pytest.mark.parametrize("width", [24, 192])
@pytest.mark.parametrize("num_classes", [2, 16, 17, 43, 101])
def test_adding_or_removing_a_class_leaves_every_other_logit_as_it_was(
    num_classes: int, width: int, num_adapters: int
) -> None:
    stack, seen = start(num_classes, num_adapters, width), see(width)
    whole = logits(stack, seen)
    for gone in sorted({0, num_classes // 2, num_classes - 1}):
        left = [label for label in range(num_classes) if label != gone]
        assert torch.equal(logits(with_classes(stack, left), seen), whole[..., left])
    backwards = list(range(num_classes))[::-1]
    assert torch.equal(logits(with_classes(stack, backwards), seen), whole[..., backwards])
    assert torch.equal(logits(with_classes(stack, [num_classes - 1]), seen), whole[..., -1:])


@pytest.mark.parametrize("num_classes", [11, 12])  # x (3 - 1) heads: below and at the width of 24
def test_training_folds_below_the_border_and_means_the_same(num_classes: int) -> None:
    stack, seen = start(num_classes, 2), see()
    quiet = logits(stack, seen)
    stack.noise = Noise([1, 2], 0, [0.0, 0.0])
    assert bool(stack.queries()) == (num_classes == 11)
    torch.testing.assert_close(forward([stack], seen)[0], quiet)


def test_a_class_is_two_vectors_and_a_number() -> None:
    assert start(6).num_parameters - start(5).num_parameters == 2 * 24 + 1
    assert start(5).num_parameters == 4 * 24 * 24 + 3 * 24 + 5 * (2 * 24 + 1)


def test_heads_must_divide_the_width() -> None:
    reason = OpenInCA.incompatibility(OpenInCAConfig(num_heads=5), scope_of(3))
    assert reason == "5 heads: expected a divisor of the width 24; choose --heads"
