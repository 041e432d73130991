"""Head2Toe finds the layer that shows the label, and classifies by what it kept alone."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, normalize

from icecore.store import LayerSpec, open_store
from icecore.train import train
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.head2toe import Head2Toe, Head2ToeConfig
from icecore.train.modules.group_lasso import keep_top, lasso
from icecore.train.sweep.forward import forward
from icecore.train.sweep.predict import load_stack
from icecore.train.tokens.batch import TokenBatch

from ..conftest import FAST, FROZEN, LAYERS, SPEC, WIDTH, MakeStore

SCOPE = Scope(LAYERS, dict.fromkeys(LAYERS, SPEC), 5, FROZEN)


def see(num_rows: int = 6) -> TokenBatch:
    generator = torch.Generator().manual_seed(3)
    return TokenBatch(tokens={k: torch.randn(num_rows, SPEC.num_tokens, WIDTH, generator=generator) for k in LAYERS})


def start(config: Head2ToeConfig, seeds: list[int], scope: Scope = SCOPE) -> Head2Toe:
    stack = Head2Toe.build(config, scope, seeds)
    assert isinstance(stack, Head2Toe)
    return stack


def direct(seen: TokenBatch, weight: Tensor, bias: Tensor, kept: Tensor, window: int) -> Tensor:
    """The formula for one adapter: every layer's features written out, masked and scaled."""
    pooled = [avg_pool1d(one.mT, window).mT.flatten(1) for _, one in sorted(seen.tokens.items())]
    masks = kept.split([one.shape[1] for one in pooled])
    return (
        torch.cat([normalize(one * mask, dim=1) for one, mask in zip(pooled, masks, strict=True)], 1) @ weight.T + bias
    )


@pytest.mark.parametrize(("num_features", "window"), [(1, 7), (WIDTH, 7), (2 * WIDTH, 3), (7 * WIDTH, 1), (10**6, 1)])
def test_it_is_a_linear_head_on_scaled_features(num_features: int, window: int) -> None:
    stack, seen = start(Head2ToeConfig(num_features=num_features), [1, 2]), see()
    num_dimensions = len(LAYERS) * (SPEC.num_tokens // window) * WIDTH
    assert stack.num_parameters == 5 * (num_dimensions + 1)
    stack.enter(1, 1, torch.Generator().manual_seed(0))  # one chooses, the other has chosen
    logits = forward([stack], seen)[0]
    for index in range(2):
        expected = direct(seen, stack.weight[index], stack.bias[index], stack.kept[index], window)
        torch.testing.assert_close(logits[index], expected)


def test_windows_are_as_large_as_found_and_what_fills_none_is_left_out() -> None:
    spec = LayerSpec(num_tokens=197, width=192, num_prefix=1, grid=(14, 14))
    stack = start(Head2ToeConfig(num_features=512), [1], Scope((3,), {3: spec}, 5, FROZEN))
    tokens = torch.randn(4, 197, 192, generator=torch.Generator().manual_seed(1), requires_grad=True)
    pooled = torch.stack([tokens[:, :73].mean(1), tokens[:, 73:146].mean(1)], 1).flatten(1)  # int(197 / (512 / 192))
    expected = normalize(pooled, dim=1) @ stack.weight[0].T + stack.bias[0]
    found = stack(TokenBatch(tokens={3: tokens}))[0]
    torch.testing.assert_close(found, expected)
    grad, reference = (torch.autograd.grad(one[:, 0].sum(), tokens)[0] for one in (found, expected))
    torch.testing.assert_close(grad, reference)
    assert grad[:, 146:].eq(0).all()


def test_what_an_earlier_version_recorded_pools_as_it_did() -> None:
    spec = LayerSpec(num_tokens=197, width=192, num_prefix=1, grid=(14, 14))
    config = Head2Toe.recorded({"num_features": 512, "keep": 0.1, "lasso": 1e-4})
    assert config != Head2ToeConfig(num_features=512)
    assert Head2Toe.recorded(Head2ToeConfig(num_features=512).model_dump()) == Head2ToeConfig(num_features=512)
    assert isinstance(config, Head2ToeConfig)
    stack = Head2Toe.build(config, Scope((3,), {3: spec}, 5, FROZEN), [1])
    tokens = torch.randn(4, 197, 192, generator=torch.Generator().manual_seed(1))
    pooled = torch.stack([tokens[:, :98].mean(1), tokens[:, 98:196].mean(1)], 1).flatten(1)
    expected = normalize(pooled, dim=1) @ stack.get_parameter("weight")[0].T
    torch.testing.assert_close(stack(TokenBatch(tokens={3: tokens}))[0], expected)


def test_the_choice_is_of_the_largest_norms_over_classes_and_a_new_head_begins() -> None:
    stack, seen = start(Head2ToeConfig(keep=0.25, lasso=0.5), [1, 2]), see()
    norms = stack.weight.detach().norm(dim=1)
    torch.testing.assert_close(stack.penalty(), 0.5 * norms.sum(1))
    stack.enter(1, 0, torch.Generator().manual_seed(0))
    best = norms[0].topk(norms.shape[1] // 4).indices
    assert set(stack.kept[0].nonzero().flatten().tolist()) == set(best.tolist())
    assert stack.kept[1].all()
    torch.testing.assert_close(stack.penalty(), torch.stack([torch.zeros(()), 0.5 * norms[1].sum()]))
    assert not torch.allclose(stack.weight[0].norm(dim=0), norms[0])
    before = forward([stack], seen)[0]
    stack.weight.data[0, :, stack.kept[0] == 0] += 1
    torch.testing.assert_close(forward([stack], seen)[0], before)


def test_a_layer_of_which_nothing_is_kept_says_nothing() -> None:
    stack, seen = start(Head2ToeConfig(keep=0.5), [1]), see()
    size = stack.kept.shape[1] // len(LAYERS)
    stack.kept[0, :size] = 0
    before = forward([stack], seen)[0]
    assert before.isfinite().all()
    seen.tokens[0].add_(1)
    assert torch.equal(forward([stack], seen)[0], before)


@pytest.mark.parametrize("planted", [0, 1])
def test_it_keeps_most_of_the_layer_that_shows_the_label(planted: int, make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(400, planted=planted)
    options = {"head2toe": {"keep": [0.02, 0.04], "num_features": [7 * WIDTH], "lasso": [1e-3], "lr": [1e-2]}}
    settings = FAST.model_copy(
        update={"adapters": ("head2toe",), "epochs": 16, "options": options, "heads": None, "lr": None}
    )
    run, store = train(url, str(tmp_path / "run"), settings), open_store(url)
    assert len(run.candidates) == 2
    for adapter_id, tensors in run.tensors().items():
        config = Head2ToeConfig.model_validate(run.candidates[adapter_id].config)
        adapter = load_stack(store, [run.candidates[adapter_id]], {adapter_id: tensors}, torch.device("cpu"))
        assert isinstance(adapter, Head2Toe)
        shares = {layer: float(share) for layer, share in adapter.kept_by_layer().items()}
        assert max(shares, key=shares.__getitem__) == planted
        assert sum(shares.values()) / len(LAYERS) == pytest.approx(config.keep, abs=0.01)
        last = [row for row in run.results.to_pylist() if row["adapter_id"] == adapter_id][-1]
        assert last["validation_score"] > 0.9


def test_layers_of_different_shape_are_read_together() -> None:
    wide = LayerSpec(num_tokens=3, width=2 * WIDTH, num_prefix=0, grid=None)
    scope = Scope((0, 1), {0: SPEC, 1: wide}, 5, FROZEN)
    stack = start(Head2ToeConfig(num_features=4 * WIDTH), [1], scope)
    seen = TokenBatch(tokens={0: torch.randn(2, SPEC.num_tokens, WIDTH), 1: torch.randn(2, 3, 2 * WIDTH)})
    assert forward([stack], seen)[0].shape == (1, 2, 5)
    assert stack.kept_by_layer() == {0: torch.ones(1), 1: torch.ones(1)}


def test_the_lasso_pulls_at_what_is_zero_with_nothing() -> None:
    weight = torch.zeros(1, 3, 4, requires_grad=True)
    assert torch.autograd.grad(lasso(weight).sum(), weight)[0].eq(0).all()


def test_at_least_one_dimension_is_kept() -> None:
    assert keep_top(torch.tensor([[1.0, -3.0, 2.0]]), 0.01).tolist() == [0.0, 1.0, 0.0]
    assert keep_top(torch.tensor([[1.0, -3.0, 2.0, 4.0, 5.0]]), 0.79).sum() == 3, "of 3.95"
