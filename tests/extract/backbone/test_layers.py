"""What a user may write for layers and for tokens."""

import pytest
import torch

from icecore.extract import parse_layers
from icecore.extract.tokens import reduction
from icecore.store import LayerSpec, UsageError

LAYER = LayerSpec(num_tokens=2 + 5 * 7, width=3, num_prefix=2, grid=(5, 7))


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("all", tuple(range(13))),
        ("0", (0,)),
        ("12,3,3", (3, 12)),
        ("0, 3,6-12", (0, 3, 6, 7, 8, 9, 10, 11, 12)),
        ("4-4", (4,)),
    ],
)
def test_layers_are_ascending_and_without_duplicates(text: str, layers: tuple[int, ...]) -> None:
    assert parse_layers(text, 12) == layers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("13", "layers '13': there is no layer 13; the backbone has layers 0 to 12"),
        ("3,", "cannot read ''; expected all, sum, or numbers and ranges such as 0,3,6-12"),
        ("last", "cannot read 'last'"),
        ("-1", "cannot read '-1'"),
        ("6-3", "'6-3' counts down"),
    ],
)
def test_wrong_layers_are_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_layers(text, 12)


def test_all_keeps_everything() -> None:
    tokens = torch.randn(4, 37, 3)
    kept = reduction("all", LAYER)
    assert kept.spec == LAYER
    assert torch.equal(kept.reduce(tokens), tokens)


def test_cls_keeps_the_first_prefix_token() -> None:
    tokens = torch.randn(4, 37, 3)
    kept = reduction("cls", LAYER)
    assert kept.spec == LayerSpec(num_tokens=1, width=3, num_prefix=1, grid=None)
    assert torch.equal(kept.reduce(tokens), tokens[:, :1])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
def test_pool_is_the_mean_of_the_patches_that_are_there(size: int) -> None:
    tokens = torch.randn(4, 37, 3)
    pooled = reduction(f"pool:{size}", LAYER)
    kept = pooled.reduce(tokens)
    assert kept.shape == (4, pooled.spec.num_tokens, pooled.spec.width)
    assert torch.equal(kept[:, :2], tokens[:, :2])
    patches = tokens[:, 2:].reshape(4, 5, 7, 3)
    squares = [
        patches[:, top : top + size, left : left + size].mean((1, 2))
        for top in range(0, 5, size)
        for left in range(0, 7, size)
    ]
    torch.testing.assert_close(kept[:, 2:], torch.stack(squares, 1))


@pytest.mark.parametrize("text", ["none", "pool", "pool:0", "pool:x", "CLS"])
def test_unknown_tokens_list_the_choices(text: str) -> None:
    with pytest.raises(UsageError, match=rf"tokens '{text}': unknown; choices: all, cls, pool:K"):
        reduction(text, LAYER)


def test_a_backbone_without_prefix_has_no_cls() -> None:
    layer = LayerSpec(num_tokens=35, width=3, num_prefix=0, grid=(5, 7))
    with pytest.raises(UsageError, match="this backbone has no prefix token; choose all or pool:K"):
        reduction("cls", layer)
