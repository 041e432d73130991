"""Cached equals live, as far as the numbers say."""

import shutil
from pathlib import Path

import pytest

from icecore.extract import ExtractSettings, extract
from icecore.live.parity import parity
from icecore.store import IcecoreError, IdentityError, UsageError

# What a codec may lose of a token, as a share of the tokens' size.
LOSSES = {"float32": 1e-6, "float16": 1e-3, "int8": 2e-2}


@pytest.mark.parametrize("dtype", LOSSES)
def test_what_differs_is_what_the_codec_loses(make_trained, dtype: str) -> None:
    trained = make_trained(dtype)
    found = parity(trained.store, 20, [trained.bundle], batch_size=7)
    assert [one.layer for one in found.layers] == [2, 4]
    assert found.num_rows == 20
    assert all(one.relative <= LOSSES[dtype] for one in found.layers)
    assert (max(one.relative for one in found.layers) > 1e-6) == (dtype != "float32")
    assert found.predictions[0].largest <= 10 * LOSSES[dtype]
    assert found.predictions[0].num_changed == 0 or dtype == "int8"
    assert (found.dtype, found.compute_dtype, found.stored_compute_dtype) == (dtype, "float32", "float32")
    assert found.versions["torch"] == found.stored_versions["torch"]


def test_another_compute_type_shows(make_trained) -> None:
    store = make_trained().store
    found = parity(store, 8, compute_dtype="bfloat16")
    assert found.compute_dtype == "bfloat16"
    assert all(1e-4 < one.relative < 5e-2 for one in found.layers)


def test_pooled_tokens_are_compared_as_stored(make_trained) -> None:
    assert all(one.relative < 1e-6 for one in parity(make_trained("float32", "pool:3").store, 500).layers)


def test_other_weights_are_refused(make_trained, save_weights, tmp_path: Path) -> None:
    other = str(save_weights(tmp_path / "other.safetensors", 1))
    with pytest.raises(IdentityError, match=r"made with test_vit of weights \w{64}, got weights \w{64}; give that"):
        parity(make_trained().store, 4, checkpoint=other)


def test_a_source_that_lost_images_is_named(digits: dict[str, Path], checkpoint: Path, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for name, path in list(digits.items())[:8]:
        target = source / name.split("/")[1] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    store = str(tmp_path / "photos.ice")
    wanted = {"backbone": "test_vit", "checkpoint": str(checkpoint), "layers": "1", "compute_dtype": "float32"}
    extract(str(source), store, ExtractSettings.model_validate(wanted))
    assert parity(store, 8).num_rows == 8
    victim = next(source.rglob("*.png"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:50])
    with pytest.raises(IcecoreError, match="has changed since its data set was scanned"):
        parity(store, 8)
    victim.unlink()
    with pytest.raises(UsageError, match=r"lacks '.*', which is in the store; run where its images are"):
        parity(store, 8)
