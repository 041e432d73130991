"""Folded and projected attention say the same; which one is taken is counted."""

from typing import Any

import pytest
import torch

from icecore.train.modules import cross_attention
from icecore.train.modules.cross_attention import (
    Projections,
    attend_folded,
    attend_projected,
    cross_attend,
    is_folding_cheaper,
)

WIDTH, HEADS = 12, 3


def arguments(num_queries: int) -> Any:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 7, WIDTH), (2, num_queries, WIDTH), (2, WIDTH, WIDTH), (2, WIDTH, WIDTH), (2, WIDTH)]
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)


@pytest.mark.parametrize("num_queries", [1, 5, 6])
@pytest.mark.parametrize("scaled", [True, False])
def test_both_ways_are_equal(num_queries: int, scaled: bool) -> None:
    gamma = torch.linspace(0.5, 2, 2 * WIDTH, dtype=torch.float64).view(2, WIDTH) if scaled else None
    given = [one.requires_grad_(place > 0) for place, one in enumerate(arguments(num_queries))]
    tokens, queries, key, value, bias = given
    to = Projections(key, value, bias, HEADS, gamma)
    found = [way(tokens, queries, to) for way in (attend_folded, attend_projected)]
    torch.testing.assert_close(*found)
    gradients = [torch.autograd.grad(one.square().sum(), given[1:]) for one in found]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_choice_at_its_border(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_folding_cheaper(5, HEADS, WIDTH)
    assert not is_folding_cheaper(6, HEADS, WIDTH)  # 6 x (3 - 1) = 12
    assert is_folding_cheaper(69, 12, 768)  # a base vision transformer: fewer than 70 classes
    assert not is_folding_cheaper(70, 12, 768)
    assert is_folding_cheaper(10**6, 1, 1)  # a single head costs the same, and no projection
    taken: list[str] = []
    for name in ("attend_folded", "attend_projected"):
        monkeypatch.setattr(cross_attention, name, lambda *of, name=name: taken.append(name) or attend_folded(*of))
    for num_queries in (5, 6):
        tokens, queries, key, value, bias = arguments(num_queries)
        cross_attend(tokens, queries, Projections(key, value, bias, HEADS))
    assert taken == ["attend_folded", "attend_projected"]
