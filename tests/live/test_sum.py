"""What trains from the sum over layers trains as from all of them, and predicts on raw images from it."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from icecore.extract import ExtractSettings, extract
from icecore.live import Predictor
from icecore.live.parity import parity
from icecore.store import SUM, UsageError
from icecore.train import Run, SelectSettings, TrainSettings, select, train
from icecore.train.runs.candidate import Candidate

from .conftest import BACKBONE

FAST = TrainSettings(adapters=("mist",), lr=(1e-2,), weight_decay=(0.01,), epochs=3, compute_dtype="float32")


@pytest.fixture(scope="module")
def make(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("sum")

    def extracted(layers: str) -> str:
        url = str(folder / f"{layers}.ice")
        settings = {"backbone": BACKBONE, "checkpoint": str(checkpoint), "dtype": "float32", "layers": layers}
        wanted = settings | {"compute_dtype": "float32", "limit": 93}
        extract("sklearn:digits", url, ExtractSettings.model_validate(wanted))
        return url

    return extracted


def layers_of(run: Run) -> dict[str, set[tuple[int, ...]]]:
    found: dict[str, set[tuple[int, ...]]] = {}
    for candidate in run.candidates.values():
        found.setdefault(candidate.adapter, set()).add(candidate.layers)
    return found


def test_mist_trains_from_the_sum_as_from_all_layers(make: Any, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Candidate, "init_seed", 5)  # which else depends on the layers that are read
        every, summed = (train(make(name), str(tmp_path / name), FAST) for name in ("all", "sum"))
    assert layers_of(every) == {"mist": {tuple(range(1, 7))}}
    assert layers_of(summed) == {"mist": {(SUM,)}}
    for column in ("train_loss", "validation_loss"):
        assert summed.results[column].to_pylist() == pytest.approx(every.results[column].to_pylist(), rel=1e-4)
    for mine, theirs in zip(summed.tensors().values(), every.tensors().values(), strict=True):
        for name, tensor in mine.items():
            torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4)


def test_what_was_trained_on_it_answers_for_images(make: Any, digits: Any, tmp_path: Path) -> None:
    store, run = make("sum"), str(tmp_path / "run")
    train(store, run, FAST.model_copy(update={"adapters": ("mist", "linear", "losa")}))
    select(run, SelectSettings(selector="average"))
    predictor = Predictor(f"{run}/bundle", compute_dtype="float32", batch_size=7)
    predictions = {each.key: each for each in predictor.predict(digits.items())}
    for row in pq.read_table(f"{run}/test.parquet").to_pylist():
        assert predictions[row["key"]].probability == pytest.approx(row["probability"], abs=1e-5)
    found = parity(store, 9, [f"{run}/bundle"])
    assert found.layers[0].relative < 1e-6
    assert found.predictions[0].num_changed == 0


def test_beside_all_layers_it_is_for_those_that_add_up(make: Any, tmp_path: Path) -> None:
    store = make("all,sum")
    settings = FAST.model_copy(update={"adapters": ("mist", "losa", "vqt"), "epochs": 1})
    found = layers_of(train(store, str(tmp_path / "run"), settings))
    assert found == {"mist": {(SUM,)}, "losa": {tuple(range(1, 7))}, "vqt": {tuple(range(7))}}
    asked = settings.model_copy(update={"adapters": ("mist", "linear"), "layers": "2,sum"})
    assert layers_of(train(store, str(tmp_path / "two"), asked)) == {"mist": {(SUM,)}, "linear": {(2,)}}


def test_who_needs_single_layers_is_told_so(make: Any, tmp_path: Path) -> None:
    for name in ("vqt", "synqt"):
        with pytest.raises(UsageError, match=rf"'{name}' at layer sum: it reads the input of every block, not the sum"):
            train(make("sum"), str(tmp_path / "r"), FAST.model_copy(update={"adapters": (name,)}))
    with pytest.raises(
        UsageError, match=r"layers '3': there is no layer 3; the store has layers sum; extract with --layers"
    ):
        train(make("sum"), str(tmp_path / "r"), FAST.model_copy(update={"layers": "3"}))
    with pytest.raises(UsageError, match=r"layers 'sum': there is no layer sum; the store has layers 0, 1, 2"):
        train(make("all"), str(tmp_path / "r"), FAST.model_copy(update={"layers": "sum"}))
