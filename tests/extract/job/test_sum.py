"""The sum over layers as one array: the same numbers, and a store like any other."""

from pathlib import Path

import pytest
import torch

from icecore.extract import ExtractSettings, extract, load_backbone
from icecore.extract.recompute import recompute
from icecore.store import SUM, UsageError, open_store, verify

from ..conftest import make_folder


@pytest.fixture
def settings(settings: ExtractSettings) -> ExtractSettings:
    return settings.model_copy(update={"layers": "sum"})


def summed(store: str) -> torch.Tensor:
    return open_store(store).layer(SUM).rows(slice(0, 23))


@pytest.mark.parametrize("tokens", ["all", "pool:3", "cls"])
def test_it_is_the_sum_of_what_every_block_puts_out(settings: ExtractSettings, tmp_path: Path, tokens: str) -> None:
    source, alone, every = make_folder(tmp_path / "images"), str(tmp_path / "sum.ice"), str(tmp_path / "all.ice")
    extract(source, alone, settings.model_copy(update={"tokens": tokens}))
    extract(source, every, settings.model_copy(update={"tokens": tokens, "layers": "all"}))
    store = open_store(every)
    total = torch.stack([store.layer(layer).rows(slice(0, 23)) for layer in range(1, 7)]).sum(0)
    torch.testing.assert_close(summed(alone), total, rtol=1e-6, atol=1e-5)
    assert open_store(alone).identity.layers == (SUM,)
    assert open_store(alone).identity.sha256 != store.identity.sha256


def test_it_joins_a_store_of_layers_and_one_block_at_a_time_gives_it_too(
    settings: ExtractSettings, tmp_path: Path
) -> None:
    source, grown, streamed = make_folder(tmp_path / "images"), str(tmp_path / "a.ice"), str(tmp_path / "b.ice")
    extract(source, grown, settings.model_copy(update={"layers": "all"}))
    before = open_store(grown).layer(6).rows(slice(0, 23))
    extract(source, grown, settings.model_copy(update={"layers": "all,sum"}))
    assert open_store(grown).layers == (*range(7), SUM)
    assert torch.equal(open_store(grown).layer(6).rows(slice(0, 23)), before)
    extract(source, streamed, settings.model_copy(update={"layers": "2,sum", "stream_blocks": True}))
    assert open_store(streamed).layers == (2, SUM)
    torch.testing.assert_close(summed(streamed), summed(grown), rtol=1e-6, atol=1e-5)


def test_a_bad_shard_of_it_is_found_and_written_again(settings: ExtractSettings, tmp_path: Path) -> None:
    source, url = make_folder(tmp_path / "images"), tmp_path / "sum.ice"
    extract(source, str(url), settings)
    before = summed(str(url))
    assert recompute(str(url), 5)[0].ok
    shard = url / "layers" / "999" / "values" / "c" / "0" / "1" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    (problem,) = verify(str(url), repair=True)
    assert problem.layer == SUM
    assert open_store(str(url)).num_missing == 8
    assert extract(source, str(url), settings).num_skipped == 15
    assert torch.equal(summed(str(url)), before)
    assert not verify(str(url))


def test_layers_that_differ_have_no_sum(tmp_path: Path) -> None:
    from ..backbone.test_backbone import random_weights

    path = random_weights("test_resnet", tmp_path)
    backbone = load_backbone("test_resnet", path, "cpu", "float32")
    with pytest.raises(UsageError, match=r"layers 'sum': the layers of test_resnet differ in tokens x width \(\d+ x"):
        backbone.layer_spec(SUM)
