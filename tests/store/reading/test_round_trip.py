"""What is written is what is read, by this package and by zarr-python."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
import zarr
from torch import Tensor

from icecore.store import IcecoreError, IncompleteError, UsageError, open_store, verify
from icecore.store.codecs import CODECS, get_codec

from ..conftest import LAYER, LAYERS, NUM_ROWS, fill, make_spec

BOUNDS = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8, "int8": 1 / 254, "int4": 1 / 12}  # of the largest value


def error(found: Tensor, exact: Tensor) -> float:
    return float(((found - exact).abs() / exact.abs().amax(-1, keepdim=True)).max())


@pytest.mark.parametrize("dtype", CODECS)
def test_rows_come_back_within_the_codec_s_bound(
    full: Callable[..., str], tokens: dict[int, Tensor], dtype: str
) -> None:
    store = open_store(full(dtype=dtype))
    for layer in LAYERS:
        assert error(store.layer(layer).rows(slice(None)), tokens[layer]) <= BOUNDS[dtype] * 1.0001
    assert verify(store.url) == []


@pytest.mark.parametrize("compressor", [None, "zstd", "gzip", "blosc"])
@pytest.mark.parametrize("dtype", CODECS)
def test_zarr_reads_the_same_numbers(full: Callable[..., str], dtype: str, compressor: str | None) -> None:
    url = full(dtype=dtype, compressor=compressor)
    parts = open_store(url).layer(3).parts(slice(None))
    for name, ours in parts.items():
        array = zarr.open_array(f"{url}/layers/03/{name}", mode="r")
        assert array.metadata.dimension_names == ("view", "row", *get_codec(dtype).parts(LAYER)[name].dimensions)  # type: ignore[union-attr]
        assert np.array_equal(np.asarray(array[0]), ours)
        assert array.shape == (1, NUM_ROWS, *ours.shape[1:])


@pytest.mark.parametrize("rows", [[5, 3, 200, 3, 99], [202], [0, 1, 2], list(range(30, 150)), [64, 63, 0, 128, 127]])
def test_any_rows_in_any_order(full: Callable[..., str], tokens: dict[int, Tensor], rows: list[int]) -> None:
    reader = open_store(full(compressor="zstd")).layer(0)
    assert torch.equal(reader.rows(np.array(rows)), tokens[0][rows])


def test_slices_are_those_of_python(full: Callable[..., str], tokens: dict[int, Tensor]) -> None:
    reader = open_store(full()).layer(0)
    for rows in (slice(78, 190), slice(None, None, 7), slice(-3, None), slice(200, 10)):
        assert torch.equal(reader.rows(rows), tokens[0][np.arange(*rows.indices(NUM_ROWS))])


def test_batches_of_any_size_make_the_same_files(tmp_path, tokens: dict[int, Tensor]) -> None:
    for batch_size in (1, 10, 64, 1000):
        fill(str(tmp_path / f"{batch_size}.ice"), tokens, batch_size=batch_size)
    files = {
        batch_size: [path.read_bytes() for path in sorted((tmp_path / f"{batch_size}.ice/layers").rglob("c/*/*/*/*"))]
        for batch_size in (1, 10, 64, 1000)
    }
    assert len(files[1]) == 8
    assert files[1] == files[10] == files[64] == files[1000]


def test_failed_rows_are_left_out_and_named(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, failed={77: "cannot identify image file", 0: "empty"})
    store = open_store(url)
    assert store.failed == {0: "empty", 77: "cannot identify image file"}
    assert store.splits == {"test": 40, "train": 161}
    assert 77 not in store.rows("train")
    assert torch.equal(store.layer(3).rows(store.rows("train")), tokens[3][store.rows("train")])
    with pytest.raises(IncompleteError, match=r"row 77 failed in extraction \(cannot identify image file\)"):
        store.layer(3).rows(slice(70, 80))


def test_a_shard_of_failed_rows_only(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, failed=dict.fromkeys(range(64, 128), "gone"))
    store = open_store(url)
    assert store.num_missing == 0
    assert sum(store.splits.values()) == NUM_ROWS - 64
    assert verify(url) == []


def test_a_row_or_layer_that_is_not_there(full: Callable[..., str]) -> None:
    store = open_store(full())
    with pytest.raises(UsageError, match=r"layer 7: not in .*, which has 0, 3; extract it with --layers"):
        store.layer(7)
    with pytest.raises(UsageError, match="row 203: the store has rows 0 to 202"):
        store.layer(0).rows(np.array([1, 203]))


@pytest.mark.parametrize("value", [70000.0, float("inf"), float("nan")])
def test_float16_refuses_what_it_cannot_hold(url: str, tokens: dict[int, Tensor], value: float) -> None:
    tokens[3][130, 5, 7] = value
    with pytest.raises(IcecoreError, match=f"layer 3, row 130: value {value!r} does not fit float16"):
        fill(url, tokens, make_spec(dtype="float16"))
    assert open_store(url).num_missing == NUM_ROWS - 128  # the shards before it count, the one it is in does not


def test_int8_refuses_what_is_not_finite(url: str, tokens: dict[int, Tensor]) -> None:
    tokens[0][3, 0, 0] = float("nan")
    with pytest.raises(IcecoreError, match="layer 0, row 3: value nan is not finite"):
        fill(url, tokens, make_spec(dtype="int8"))


def test_tokens_of_another_shape_are_refused(url: str, tokens: dict[int, Tensor]) -> None:
    tokens[3] = tokens[3][:, :16]
    with pytest.raises(IcecoreError, match=r"layer 3: tokens of shape \(10, 16, 24\), expected \(10, 17, 24\)"):
        fill(url, tokens)


def test_the_frozen_backbone_comes_back(full: Callable[..., str]) -> None:
    frozen = open_store(full()).frozen()
    assert frozen.config == {"family": "vit"}
    assert torch.equal(frozen.tensors["norm.weight"], torch.ones(24))


def test_a_part_of_the_frozen_backbone_is_read_once_and_none_of_it_where_none_is_asked(
    full: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, frozen = open_store(full()), open_store(full()).frozen()
    norm = store.frozen_parts(("norm.",))
    assert norm.config == frozen.config
    assert norm.tensors.keys() == {name for name in frozen.tensors if name.startswith("norm.")}
    monkeypatch.setattr(store, "frozen", lambda: pytest.fail("read anew"))
    assert store.frozen_parts(("norm.",)) is norm
    assert store.frozen_parts(()).tensors == {}


def test_a_store_can_be_sent_to_another_process(full: Callable[..., str]) -> None:
    store = open_store(full())
    again = pickle.loads(pickle.dumps(store))
    assert again.identity == store.identity
    layer = store.layers[0]
    assert torch.equal(again.layer(layer).rows(store.rows("train")), store.layer(layer).rows(store.rows("train")))
