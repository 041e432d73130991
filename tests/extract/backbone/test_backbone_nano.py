"""The backbone in the package: small, whole, loaded from where it lies alone, and with layers worth choosing among."""

import socket
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from icecore.extract import Backbone, ExtractSettings, extract, load_backbone, open_source
from icecore.extract.backbone.nano import WEIGHTS
from icecore.train import SelectSettings, TrainSettings, select, train

DIGEST = "a1a1db6164244391b85e58e432251fbc2038ee757bb35ffbe46f8aa1029fa2fb"


@pytest.fixture
def nano(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """The packaged weights, with no network and no shared weights."""

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("there is no network here")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setenv("ICECORE_SHARED", str(tmp_path))
    return load_backbone("icecore_nano", device="cpu", compute_dtype="float32")


def test_the_weights_are_those_that_were_shipped(nano: Backbone) -> None:
    assert nano.weights_sha256 == DIGEST


def test_every_layer_has_a_token_a_patch_and_one_more(nano: Backbone) -> None:
    tokens = nano.forward(nano.transform(open_source("shapes:count:3").decode(bytes(3 * 64 * 64)))[None], range(10))
    assert nano.num_layers == 9
    assert nano.layer_spec(0).model_dump() == {"num_tokens": 65, "width": 192, "num_prefix": 1, "grid": (8, 8)}
    assert [tuple(tokens[layer].shape) for layer in range(10)] == [(1, 65, 192)] * 10
    assert all(torch.isfinite(tokens[layer]).all() for layer in range(10))


def test_images_of_64_pixels_are_taken_as_they_are(nano: Backbone) -> None:
    source = open_source("shapes:count:3")
    pixels = nano.transform.pixels(source.decode(source.read(0)))
    assert bytes(pixels.permute(1, 2, 0).contiguous().flatten().tolist()) == source.read(0)


def test_the_file_is_small_and_has_no_classifier() -> None:
    with safe_open(WEIGHTS, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (is no mapping)
        assert file.metadata()["license"] == "Apache-2.0"
    assert WEIGHTS.stat().st_size <= 6_000_000
    assert sum(tensor.numel() for tensor in tensors.values()) <= 3_000_000
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert not any(name.startswith("head") for name in tensors)


@pytest.mark.slow
def test_on_traffic_signs_a_middle_layer_beats_the_last(shared: Path, tmp_path: Path) -> None:
    store, run = str(tmp_path / "signs.ice"), str(tmp_path / "run")
    extract(f"wds:{shared / 'data' / 'gtsrb'}", store, ExtractSettings(backbone="icecore_nano", layers="4,9"))
    grid = TrainSettings(adapters=("inca",), lr=(3e-3,), weight_decay=(0.01,), epochs=25)
    train(store, run, grid)
    accuracy = {row.layer: row.test_score or 0.0 for row in select(run, SelectSettings()).table}
    assert accuracy[4] >= accuracy[9] + 0.08
