"""LoSA: it begins as the linear probe, costs what its formula says, and mixes clips in space and in time."""

from typing import Any

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from icecore.store import LayerSpec
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.linear import Linear, LinearConfig
from icecore.train.adapters.losa import LoSA, LoSAConfig
from icecore.train.tokens.batch import TokenBatch, make_batch

from ..conftest import FROZEN, WIDTH

SPEC = LayerSpec(num_tokens=12, width=WIDTH, num_prefix=1, grid=None)
LAYERS = (1, 2, 3)


def scope_of(layers: tuple[int, ...], spec: LayerSpec = SPEC) -> Scope:
    return Scope(layers, dict.fromkeys(layers, spec), 5, FROZEN)


def see(num_rows: int = 4) -> TokenBatch:
    generator = torch.Generator().manual_seed(1)
    tokens = {layer: torch.randn(num_rows, 12, WIDTH, generator=generator) for layer in LAYERS}
    return make_batch(tokens, dict.fromkeys(LAYERS, SPEC), 1e-6, frozenset({"tokens", "features"}))


def start(config: LoSAConfig, seeds: list[int]) -> LoSA:
    stack = LoSA.build(config, scope_of(LAYERS), seeds)
    assert isinstance(stack, LoSA)
    return stack


def away(adapter: LoSA) -> LoSA:
    for parameter in adapter.parameters():
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) / 3
    return adapter


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("frames", [1, 3])
def test_it_begins_as_the_linear_probe_on_the_last_layer(pooling: Any, frames: int) -> None:
    losa = start(LoSAConfig(side_pooling=pooling, frames=frames, gate=True), [1, 2])
    probe = Linear.build(LinearConfig(pooling=pooling, norm="final"), scope_of((3,)), [1, 2])
    seen = see()
    if frames == 1:
        with torch.no_grad():
            probe.get_parameter("weight").copy_(losa.weight)
        torch.testing.assert_close(losa(seen), probe(seen))
    else:  # the mean of the frames' own probes
        values = layer_norm(
            seen.tokens[3], (WIDTH,), FROZEN.tensors["norm.weight"], FROZEN.tensors["norm.bias"], 1e-6
        ).unflatten(1, (3, 4))
        pooled = (values[:, :, :1] if pooling == "cls" else values[:, :, 1:]).mean((1, 2))
        torch.testing.assert_close(losa(seen), torch.einsum("bw,acw->abc", pooled, losa.weight))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("accumulate", [True, False])
def test_the_low_rank_products_are_the_formula(norm: bool, accumulate: bool) -> None:
    config = LoSAConfig(rank=3, norm=norm, accumulate=accumulate, gate=True)
    losa, seen = away(start(config, [1, 2])), see()
    found = losa(seen)

    def ln(values: torch.Tensor) -> torch.Tensor:
        return layer_norm(values, (WIDTH,), eps=1e-6) if norm else values

    for index in range(2):
        mine = {name: tensor[index] for name, tensor in losa.tensors().items()}
        y = torch.zeros(1)
        for tap, layer in enumerate(LAYERS):
            z = seen.tokens[layer] + y
            c = gelu(ln(z) @ mine["channel_down"][tap].T) @ mine["channel_up"][tap].T
            t = mine["token_up"][tap] @ gelu(mine["token_down"][tap] @ ln(c))
            y = (c + t) * mine["gate"][tap] + (y if accumulate else 0)
        final = layer_norm(
            (seen.tokens[3] + y)[:, 0], (WIDTH,), FROZEN.tensors["norm.weight"], FROZEN.tensors["norm.bias"], 1e-6
        )
        torch.testing.assert_close(found[index], final @ mine["weight"].T + mine["bias"])


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("gate", [True, False])
def test_the_number_of_parameters(frames: int, gate: bool) -> None:
    stack = start(LoSAConfig(rank=4, frames=frames, gate=gate), [0])
    a_layer = 2 * 4 * (WIDTH + 12) if frames == 1 else 2 * 4 * (WIDTH + 12 // frames + frames)
    assert stack.num_parameters == 3 * a_layer + 3 * gate + 5 * WIDTH + 5


def test_every_counts_from_the_last_block() -> None:
    assert LoSA.layer_groups(LoSAConfig(), (0, 1, 2, 3, 4)) == [(1, 2, 3, 4)]
    assert LoSA.layer_groups(LoSAConfig(every=3), tuple(range(13))) == [(3, 6, 9, 12)]
    assert LoSA.layer_groups(LoSAConfig(), (0,)) == [(0,)]


def test_a_clip_of_which_time_does_nothing_is_its_frames() -> None:
    """With no mixing across frames, a clip of three frames says the mean of what its frames say alone."""
    whole = away(start(LoSAConfig(rank=3, frames=3), [1]))
    with torch.no_grad():
        whole.get_parameter("frame_up").zero_()
    frame = LayerSpec(num_tokens=4, width=WIDTH, num_prefix=1, grid=None)
    tensors = {name: tensor for name, tensor in whole.tensors().items() if not name.startswith("frame")}
    plain = LoSA(LoSAConfig(rank=3), scope_of(LAYERS, frame), tensors)
    seen = see()
    frames = TokenBatch(tokens={layer: values.reshape(12, 4, WIDTH) for layer, values in seen.tokens.items()})
    torch.testing.assert_close(whole(seen), plain(frames).unflatten(1, (4, 3)).mean(2))


def test_time_sees_the_other_frames_and_one_frame_has_no_time() -> None:
    stack, seen = away(start(LoSAConfig(rank=3, frames=3), [1])), see()
    changed = {layer: values.clone() for layer, values in seen.tokens.items()}
    changed[1][:, 8:] += 1  # the last frame, at a layer that the classifier reads only through what was mixed
    refined = stack._step(seen.tokens[1][None], 0)  # pyright: ignore[reportPrivateUsage]
    assert not torch.equal(refined[:, :, :4], stack._step(changed[1][None], 0)[:, :, :4])  # pyright: ignore[reportPrivateUsage]
    assert not any("frame" in name for name in start(LoSAConfig(), [1]).tensors())


@pytest.mark.parametrize(
    ("config", "spec", "message"),
    [
        (LoSAConfig(frames=5), SPEC, r"frames 5: expected a divisor of the 12 tokens"),
        (LoSAConfig(), SPEC.model_copy(update={"num_tokens": 1}), r"it needs patch tokens, .* --tokens all"),
        (LoSAConfig(), SPEC.model_copy(update={"num_prefix": 0}), r"side_pooling 'cls' needs a CLS token"),
    ],
)
def test_what_the_store_lacks_is_said(config: LoSAConfig, spec: LayerSpec, message: str) -> None:
    scope = scope_of(LAYERS, spec)
    assert LoSA.incompatibility(config, scope) is not None
    with pytest.raises(ValueError, match=message):
        raise ValueError(LoSA.incompatibility(config, scope))
