"""VQT equals the backbone run with the queries inside, keeps little for the backward pass, and selects dimensions."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from icecore.store import FrozenBackbone, UsageError
from icecore.train import train
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.vqt import VQT, VQTConfig
from icecore.train.modules.noise import Noise
from icecore.train.runs.candidate import Candidate, Recipe
from icecore.train.sweep.forward import forward
from icecore.train.sweep.stack import start as begin
from icecore.train.targets.target import LossWeights
from icecore.train.tokens.batch import TokenBatch, make_batch

from ..conftest import FAST, FROZEN, REBUILD, SPEC, MakeStore
from .live_vit import NUM_BLOCKS, NUM_CLASSES, NUM_HEADS, WIDTH, LiveViT, images_of

NUM_ROWS = 4


def start(config: VQTConfig, scope: Scope, seeds: list[int]) -> VQT:
    stack = VQT.build(config, scope, seeds)
    assert isinstance(stack, VQT)
    return stack


def see(model: LiveViT, images: Tensor) -> TokenBatch:
    return make_batch(model(images), dict.fromkeys(model.layers, model.spec), 1e-6, VQT.reads)


def direct(model: LiveViT, images: Tensor, query: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The logits, with the queries as further tokens of the live backbone."""
    tokens, segments = model.embed(images), []
    for index in range(NUM_BLOCKS):
        tokens, left, _, _ = model.with_queries(index, tokens, query[index].expand(len(images), -1, -1))
        segments.append(left.flatten(1))
    assert torch.allclose(tokens, model(images)[NUM_BLOCKS], atol=1e-5)  # the queries left no trace
    features = [model.vit.norm(tokens)[:, 0], *segments]
    return torch.cat([one / one.norm(dim=1, keepdim=True) for one in features], 1) @ weight.T + bias


@pytest.mark.parametrize("num_queries", [1, 3])
def test_vqt_equals_the_live_backbone_with_the_queries_inside(num_queries: int) -> None:
    model, images = LiveViT(), images_of(NUM_ROWS)
    stack = start(VQTConfig(num_queries=num_queries), model.scope(), [1, 2])
    labels = torch.arange(NUM_ROWS) % NUM_CLASSES
    logits = forward([stack], see(model, images))[0]
    for index in range(2):
        own = [parameter[index].detach().clone().requires_grad_() for parameter in stack.parameters()]
        named = dict(zip([name for name, _ in stack.named_parameters()], own, strict=True))
        expected = direct(model, images, **named)
        torch.testing.assert_close(logits[index], expected, rtol=0, atol=1e-5)
        ours = torch.autograd.grad(cross_entropy(logits[index], labels), list(stack.parameters()), retain_graph=True)
        theirs = torch.autograd.grad(cross_entropy(expected, labels), own)
        for mine, reference in zip(ours, theirs, strict=True):
            assert (mine[index] - reference).norm() <= 1e-4 * reference.norm()


def test_a_feature_depends_on_no_other_blocks_queries() -> None:
    model, images = LiveViT(), images_of(NUM_ROWS)
    num_features = WIDTH * (1 + NUM_BLOCKS * 2)
    stack = start(VQTConfig(num_queries=2), model.scope(num_outputs=num_features), [1])
    stack.weight.data[0], seen = torch.eye(num_features), see(model, images)  # the logits are the features
    before = forward([stack], seen)[0][0].split([WIDTH] + [2 * WIDTH] * NUM_BLOCKS, -1)
    stack.query.data[0, 1] += 1
    after = forward([stack], seen)[0][0].split([WIDTH] + [2 * WIDTH] * NUM_BLOCKS, -1)
    assert [torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [True, True, False, True]
    for segment in before:
        torch.testing.assert_close(segment.norm(dim=-1), torch.ones(NUM_ROWS))


def saved_numbers(img_size: int) -> int:
    """How many numbers autograd keeps for the backward pass, beside what was given: tokens and frozen tensors."""
    model = LiveViT(img_size)
    stack = start(VQTConfig(num_queries=2), model.scope(), [1, 2, 3])
    seen, kept = see(model, images_of(NUM_ROWS, img_size)), dict[int, Tensor]()
    given = {one.untyped_storage().data_ptr() for table in (seen.features, seen.normalised) for one in table.values()}
    given |= {one.untyped_storage().data_ptr() for block in stack.blocks for one in block.tensors.values()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in given:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward([stack], seen)
    return sum(tensor.untyped_storage().nbytes() // 4 for tensor in kept.values())


def test_more_tokens_cost_the_backward_pass_their_logits_alone() -> None:
    num_more = 64 - 16
    logits = 3 * NUM_ROWS * 2 * NUM_HEADS * num_more * NUM_BLOCKS
    assert saved_numbers(64) - saved_numbers(32) == logits


def test_vqt_trains_its_queries_and_a_head() -> None:
    stack = start(VQTConfig(num_queries=2), LiveViT().scope(), [0])
    assert stack.num_parameters == NUM_BLOCKS * 2 * WIDTH + NUM_CLASSES * (WIDTH * (1 + NUM_BLOCKS * 2) + 1)


def test_dropout_is_of_training_alone_and_each_adapters_own() -> None:
    model = LiveViT()
    stack, seen = start(VQTConfig(), model.scope(), [1, 2]), see(model, images_of(NUM_ROWS))
    assert torch.equal(forward([stack], seen)[0], forward([stack], seen)[0])
    one = start(VQTConfig(), model.scope(), [2])
    for adapter, seeds in ((stack, [5, 6]), (one, [6])):
        adapter.noise = Noise(seeds, 3, [0.0] * len(seeds))
    dropped = forward([stack], seen)[0]
    torch.testing.assert_close(forward([one], seen)[0][0], dropped[1])
    stack.noise = None
    assert not torch.allclose(forward([stack], seen)[0], dropped)


def test_selection_freezes_the_queries_and_keeps_a_share_of_the_dimensions(
    make_store: MakeStore, tmp_path: Path
) -> None:
    options = {"vqt": {"keep": [0.25], "lasso": [1e-2]}}
    settings = FAST.model_copy(
        update={"adapters": ("vqt",), "epochs": 9, "options": options, "weight_decay": (0.1,), "heads": None}
    )
    (tensors,) = train(make_store(planted=1), str(tmp_path / "run"), settings).tensors().values()
    assert tensors["phase"] == 2
    assert tensors["kept"].sum() == int(0.25 * len(tensors["kept"]))
    assert set(tensors["kept"].unique().tolist()) == {0.0, 1.0}
    assert not torch.allclose(
        tensors["frozen_query"], tensors["query"]
    )  # decay goes on, and nobody reads what it moves


def test_the_share_kept_of_each_layer_is_that_of_its_own_dimensions() -> None:
    model = LiveViT()
    stack = start(VQTConfig(keep=0.5, num_queries=2), model.scope(), [1, 2])
    width = model.spec.width
    stack.kept[0, : width // 2] = 0  # of the backbone's output
    stack.kept[1, width : 3 * width] = 0  # of what the queries bring of the first layer
    shares = stack.kept_by_layer()
    assert list(shares) == list(model.layers)
    rest = list(model.layers)[1:-1]
    assert shares[max(model.layers)].tolist() == [0.5, 1.0]
    assert shares[0].tolist() == [1.0, 0.0]
    assert all(shares[layer].tolist() == [1.0, 1.0] for layer in rest)
    assert start(VQTConfig(), model.scope(), [1]).kept_by_layer() == {}


def test_later_phases_have_half_the_rate_and_drop_out_of_the_frozen_queries() -> None:
    recipe = Recipe(lr=0.1, weight_decay=0.0, epochs=9, batch_size=4)
    config = VQTConfig(keep=0.5)
    candidate = Candidate(adapter="vqt", layers=(0, 1, 2, 3), config=config.model_dump(), recipe=recipe)
    model = LiveViT()
    adapter = start(config, model.scope(), [1, 1])
    stack = begin([candidate, candidate], adapter, LossWeights())
    assert VQT.phase_rates(VQTConfig()) == (1.0,)
    most = [max(stack._rate(candidate, step, 10) for step in range(k * 30, k * 30 + 30)) for k in range(3)]
    assert most == pytest.approx([0.1, 0.05, 0.05])
    adapter.enter(1, 0, torch.Generator().manual_seed(0))
    adapter.enter(1, 1, torch.Generator().manual_seed(0))
    adapter.frozen_query[1], adapter.weight.data[1] = adapter.frozen_query[0], adapter.weight.data[0]
    seen = see(model, images_of(NUM_ROWS))
    whole = forward([adapter], seen)[0]
    adapter.noise = Noise([5, 6], 3, [0.0, 0.0])
    dropped = forward([adapter], seen)[0]
    assert not torch.allclose(dropped[0], whole[0])
    assert not torch.allclose(dropped[0], dropped[1]), "each adapter drops its own"


def test_what_is_not_kept_says_nothing() -> None:
    model, generator = LiveViT(), torch.Generator().manual_seed(0)
    stack, seen = start(VQTConfig(keep=0.5), model.scope(), [1, 2]), see(model, images_of(NUM_ROWS))
    assert (stack.penalty() == 0).all()  # pyright: ignore
    stack.enter(1, 1, generator)
    penalty = stack.penalty()
    assert penalty is not None
    torch.testing.assert_close(penalty, torch.tensor([0.0, 1e-4 * stack.weight[1].detach().norm(dim=0).sum().item()]))
    best = stack.weight[1].norm(dim=0).topk(stack.weight.shape[-1] // 2).indices
    stack.enter(2, 1, generator)
    assert (stack.penalty() == 0).all()  # pyright: ignore
    assert stack.kept[0].all()
    assert set(stack.kept[1].nonzero().flatten().tolist()) == set(best.tolist())
    before = forward([stack], seen)[0]
    stack.weight.data[1, :, stack.kept[1] == 0] += 1
    stack.query.data[1] += 1  # no longer read
    torch.testing.assert_close(forward([stack], seen)[0], before)


def scope_of(layers: tuple[int, ...], tokens: str = "all", frozen: FrozenBackbone = FROZEN) -> Scope:
    return Scope(layers, dict.fromkeys(layers, SPEC), 3, frozen, tokens)


def without(prefix: str) -> FrozenBackbone:
    return FrozenBackbone(FROZEN.config, {k: v for k, v in FROZEN.tensors.items() if not k.startswith(prefix)})


def qk_normed() -> FrozenBackbone:
    return FrozenBackbone({"eps": 1e-6, "rebuild": {**REBUILD, "qk_norm": True}}, FROZEN.tensors)


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        (scope_of((0, 2)), r"got layers 0, 2, expected all from 0 .* extract again with --layers 0-2"),
        (scope_of((1, 2)), r"got layers 1, 2, expected all from 0 .* train with --layers 0-2"),
        (scope_of((0,)), r"got layers 0, expected all from 0 .* extract again with --layers 0-1"),
        (scope_of((0, 1, 2), "pool:2"), r"every token, and the store has 'pool:2'; extract again with --tokens all"),
        (scope_of((0, 1, 2), frozen=without("blocks.1.")), r"frozen tensors blocks\.1\.\*, and the store has none"),
        (scope_of((0, 1, 2), frozen=without("norm.")), r"frozen tensors norm\.\*, and the store has none"),
        (
            scope_of((0, 1), frozen=FrozenBackbone({"why_not": "gated attention"}, {})),
            "rebuilt: gated attention; choose",
        ),
        (scope_of((0, 1, 2), frozen=qk_normed()), "normalises every key, so queries cannot be folded; choose synqt"),
    ],
)
def test_what_vqt_cannot_do_without_is_refused(scope: Scope, reason: str) -> None:
    refusal = VQT.incompatibility(VQTConfig(), scope)
    assert refusal is not None
    assert re.search(reason, refusal), refusal


def test_a_sweep_is_refused_before_anything_is_read(make_store: MakeStore, tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"adapters": ("vqt",), "layers": "0,2", "heads": None})
    with pytest.raises(UsageError, match="adapter 'vqt' at layer 2: got layers 0, 2, expected all from 0"):
        train(make_store(), str(tmp_path / "run"), settings)
    assert not (tmp_path / "run").exists()
