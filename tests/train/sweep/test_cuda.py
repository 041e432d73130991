"""On CUDA rows reach the device whatever holds them, results repeat to the bit, and agree with the CPU's."""

from pathlib import Path

import pytest
import torch

from icecore.store import open_store
from icecore.store.codecs import CODECS
from icecore.train import Run, TrainSettings, train
from icecore.train.tokens.feed import StoreFeed
from icecore.train.tokens.held_feeds import EncodedFeed

from ..conftest import MakeStore, predictions_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
CUDA = torch.device("cuda")


@pytest.mark.parametrize("dtype", list(CODECS))
def test_stored_arrays_mean_the_same_there(dtype: str) -> None:
    tokens, channels = torch.randn(5, 7, 48), torch.rand(48) + 0.5
    parts = {name: torch.from_numpy(part) for name, part in CODECS[dtype].encode(tokens, channels).items()}
    there = CODECS[dtype].decode({name: part.to(CUDA) for name, part in parts.items()}, torch.float32, channels)
    assert torch.equal(there.cpu(), CODECS[dtype].decode(parts, torch.float32, channels))


def test_streamed_and_kept_rows_arrive_as_the_cpu_reads_them(make_store: MakeStore) -> None:
    store = open_store(make_store(700))
    feed = StoreFeed(
        store=store, rows=store.rows("train"), layers=(0, 1), reads=frozenset({"tokens"}), eps=1e-6, device=CUDA
    )
    places = torch.randperm(feed.num_rows)
    expected = store.layer(1).rows(store.rows("train")[places.numpy()])
    for source in (feed, EncodedFeed(feed)):
        found = torch.cat([seen.tokens[1].clone() for seen in source.batches(places.split(48))])
        assert torch.equal(found.cpu(), expected)


def run_of(url: str, out: Path, **changes: object) -> Run:
    settings = TrainSettings(layers="0,1", lr=(3e-3,), weight_decay=(0.01,), epochs=4, compute_dtype="float32")
    return train(url, str(out), settings.model_copy(update=changes))


def test_a_sweep_repeats_to_the_bit_and_agrees_with_the_cpu(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(700)
    first, again = (run_of(url, tmp_path / name, device="cuda") for name in ("first", "again"))
    assert first.facts["cost"]["peak_bytes"] > 0
    for key, tensor in first.tensors().items():
        for name, values in tensor.items():
            assert torch.equal(values, again.tensors()[key][name])
    cpu = run_of(url, tmp_path / "cpu", device="cpu")
    for one, other in zip(
        predictions_of(first.validation_predictions()), predictions_of(cpu.validation_predictions()), strict=True
    ):
        torch.testing.assert_close(one, other, atol=2e-2, rtol=2e-2)
