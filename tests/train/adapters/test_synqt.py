"""SynQT equals its formula with the live backbone, passes gradients through frozen blocks, and counts its cost."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu, layer_norm, linear
from torch.utils.flop_counter import FlopCounterMode

from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.synqt import SynQT, SynQTConfig
from icecore.train.modules.folded import attend, folding_pays
from icecore.train.modules.frozen_block import FrozenBlock
from icecore.train.modules.noise import Noise
from icecore.train.sweep.forward import forward
from icecore.train.tokens.batch import TokenBatch, make_batch

from ..conftest import FROZEN
from .live_vit import NUM_BLOCKS, NUM_CLASSES, WIDTH, LiveViT, images_of

NUM_ROWS = 4


def see(model: LiveViT, images: Tensor) -> TokenBatch:
    return make_batch(model(images), dict.fromkeys(model.layers, model.spec), 1e-6, SynQT.reads)


def start(config: SynQTConfig, scope: Scope, seeds: list[int]) -> SynQT:
    """Return a stack in which no parameter has the value that it starts with."""
    stack = SynQT.build(config, scope, seeds)
    assert isinstance(stack, SynQT)
    for parameter in stack.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 5
    return stack


class Direct:
    """The formula, with the queries of every image as further tokens of the live backbone; one adapter's tensors."""

    def __init__(self, model: LiveViT, named: dict[str, Tensor]) -> None:
        self.model, self.named = model, named

    def bottleneck(self, name: str, values: Tensor, index: int | None = None) -> Tensor:
        parts = [self.named[f"{name}_{part}"] for part in ("down_weight", "down_bias", "up_weight", "up_bias")]
        down, down_bias, up, up_bias = parts if index is None else [part[index] for part in parts]
        return values + linear(gelu(linear(values, down, down_bias)), up, up_bias)

    def norm(self, name: str, values: Tensor, index: int | None = None) -> Tensor:
        parts = [self.named[f"{name}_{part}"] for part in ("gamma", "beta")]
        return layer_norm(values, (WIDTH,), *(parts if index is None else [part[index] for part in parts]), eps=1e-5)

    def synthesise(self, p: Tensor, index: int) -> Tensor:
        p = self.bottleneck("enter", p, index)
        r = self.norm("self_norm", p, index)
        q = self.bottleneck("query", self.norm("query_norm", r, index), index)
        k = self.bottleneck("key", self.norm("key_norm", r, index), index)
        v = self.bottleneck("value", self.norm("key_norm", r, index), index)
        o = self.bottleneck("out", torch.softmax(q @ k.mT / WIDTH**0.5, -1) @ v, index)
        p = p + self.named["alpha"][index] * o
        return p + self.named["beta"][index] * self.bottleneck("leave", self.norm("leave_norm", p, index), index)

    def summaries(self, images: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        tokens, found = self.model.embed(images), list[tuple[Tensor, Tensor, Tensor]]()
        for index in range(NUM_BLOCKS):
            p = self.named["prompt"][index].expand(len(images), -1, -1)
            if found:
                p = p + self.named["gamma"] * found[-1][0][:, None]
            tokens, *three = self.model.with_queries(index, tokens, self.synthesise(p, index))
            s, h, g = (one.mean(1) for one in three)
            found.append((s, h, g))
        return found

    def logits(self, images: Tensor) -> Tensor:
        s, h, g = zip(*self.summaries(images), strict=True)
        vectors = [self.bottleneck("head", self.norm("head_norm", f)) + f for f in (s[-1], *s, *h, *g)]
        gates = torch.tanh(gelu(linear(vectors[0], self.named["mix_weight"], self.named["mix_bias"])))
        weighed = [vectors[0], *(gates[:, i : i + 1] * f for i, f in enumerate(vectors[1:]))]
        mean = torch.stack(weighed).sum(0) / (3 * NUM_BLOCKS + 1)
        return linear(self.norm("final_norm", mean), self.named["weight"], self.named["bias"])


@pytest.mark.parametrize("num_queries", [1, 3, 40])
def test_synqt_equals_the_live_backbone_with_the_queries_inside(num_queries: int) -> None:
    model, images = LiveViT(), images_of(NUM_ROWS)
    stack, labels = start(SynQTConfig(num_queries=num_queries), model.scope(), [1, 2]), torch.arange(NUM_ROWS)
    logits = forward([stack], see(model, images))[0]
    for index in range(2):
        named = {name: one[index].detach().clone().requires_grad_() for name, one in stack.named_parameters()}
        expected = Direct(model, named).logits(images)
        torch.testing.assert_close(logits[index], expected, rtol=0, atol=1e-4)
        ours = torch.autograd.grad(cross_entropy(logits[index], labels), list(stack.parameters()), retain_graph=True)
        theirs = torch.autograd.grad(cross_entropy(expected, labels), list(named.values()))
        scale = max(reference.norm() for reference in theirs)
        for mine, reference in zip(ours, theirs, strict=True):
            assert (mine[index] - reference).norm() <= 1e-3 * reference.norm() + 1e-6 * scale


def test_queries_of_a_block_reach_it_and_the_blocks_above() -> None:
    model, images = LiveViT(), images_of(NUM_ROWS)
    for changed in range(NUM_BLOCKS):
        stack, seen = start(SynQTConfig(num_queries=2), model.scope(), [1]), see(model, images)
        before = [found[0] for found in stack.summaries(seen)]
        stack.prompt.data[0, changed] += 1
        same = [torch.equal(one, found[0]) for one, found in zip(before, stack.summaries(seen), strict=True)]
        assert same == [index < changed for index in range(NUM_BLOCKS)]


def test_gradients_pass_through_frozen_blocks_which_get_none() -> None:
    model = LiveViT()
    stack, seen = start(SynQTConfig(num_queries=2), model.scope(), [1]), see(model, images_of(NUM_ROWS))
    *_, last = stack.summaries(seen)
    (gradient,) = torch.autograd.grad(last[0].square().sum(), [stack.prompt])
    assert (gradient[0].abs().amax((1, 2)) > 0).all()  # of the queries of every block, the first too
    assert not any(one.requires_grad for block in stack.blocks for one in block.tensors.values())


def test_the_head_sees_three_vectors_a_block_and_the_last_summary() -> None:
    """The published size, for 12 blocks 768 wide, without what the released code never uses."""
    norms, wide, narrow = 4 * 2 * 768, 2 * 48 * 768 + 48 + 768, 2 * 8 * 768 + 8 + 768
    block = 768 + 2 + norms + 2 * wide + 4 * narrow
    expected = 12 * block + 1 + wide + 2 * 2 * 768 + 36 * 769
    assert round(expected + 18_469, -4) == 2_620_000

    norms, wide, narrow = 4 * 2 * WIDTH, 2 * 48 * WIDTH + 48 + WIDTH, 2 * 8 * WIDTH + 8 + WIDTH
    block = WIDTH + 2 + norms + 2 * wide + 4 * narrow
    head = wide + 2 * 2 * WIDTH + 3 * NUM_BLOCKS * (WIDTH + 1) + NUM_CLASSES * (WIDTH + 1)
    one_query = SynQTConfig(num_queries=1)
    assert SynQT.build(one_query, LiveViT().scope(), [0]).num_parameters == NUM_BLOCKS * block + 1 + head


def test_it_begins_with_the_backbones_final_norm() -> None:
    model = LiveViT()
    stack = SynQT.build(SynQTConfig(), model.scope(), [0])
    torch.testing.assert_close(stack.get_parameter("final_norm_gamma")[0].detach(), model.vit.norm.weight)


def test_dropout_is_of_training_alone_and_each_adapters_own() -> None:
    model = LiveViT()
    stack, one = (start(SynQTConfig(num_queries=2), model.scope(), seeds) for seeds in ([1, 2], [2]))
    for mine, other in zip(one.parameters(), stack.parameters(), strict=True):
        mine.data[0] = other.data[1]
    seen = see(model, images_of(NUM_ROWS))
    still = forward([stack], seen)[0]
    assert torch.equal(still, forward([stack], seen)[0])
    for adapter, seeds in ((stack, [5, 6]), (one, [6])):
        adapter.noise = Noise(seeds, 3, [0.0] * len(seeds))
    dropped = forward([stack], seen)[0]
    torch.testing.assert_close(forward([one], seen)[0][0], dropped[1])
    assert not torch.allclose(still, dropped)


def counted(num_queries: int, folded: bool) -> int:
    """Count the multiplications of one training step of an image's queries, both ways."""
    block = FrozenBlock.of(FROZEN.config, FROZEN.tensors, 0)
    queries, tokens = torch.randn(1, num_queries, 16, requires_grad=True), torch.randn(1, 33, 16)
    with FlopCounterMode(display=False) as counter:
        ways = {
            True: lambda: block.gathered(attend(tokens, block.fold(queries))),
            False: lambda: block.attend(queries, tokens),
        }
        ways[folded]().sum().backward()
    return counter.get_total_flops()


def test_queries_are_folded_exactly_where_that_counts_fewer_operations() -> None:
    choices = [folding_pays(count, 33, 16, 4) for count in range(1, 40)]
    border = choices.index(False)
    assert border > 1
    assert choices == [True] * border + [False] * (len(choices) - border)
    for count, choice in itertools.islice(enumerate(choices, 1), border - 2, border + 2):
        assert (counted(count, True) < counted(count, False)) == choice


def test_both_ways_say_the_same() -> None:
    block = FrozenBlock.of(FROZEN.config, FROZEN.tensors, 0)
    queries, tokens = torch.randn(2, 3, 16), layer_norm(torch.randn(2, 33, 16), (16,))
    torch.testing.assert_close(block.gathered(attend(tokens, block.fold(queries))), block.attend(queries, tokens))
