"""Bundles of adapters that read all layers and use frozen blocks, on raw images."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from icecore.extract import ExtractSettings, extract
from icecore.live import Predictor
from icecore.train import SelectSettings, TrainSettings, select, train

from .conftest import BACKBONE

OPTIONS: dict[str, dict[str, list[Any]]] = {
    "vqt": {"keep": [0.5], "num_queries": [2]},
    "synqt": {"num_queries": [2]},
    "head2toe": {"keep": [0.25]},
}


@pytest.fixture(scope="module")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("all") / "digits.ice")
    settings = {"backbone": BACKBONE, "checkpoint": str(checkpoint), "dtype": "float32", "compute_dtype": "float32"}
    extract("sklearn:digits", url, ExtractSettings.model_validate(settings | {"limit": 93}))
    return url


@pytest.mark.parametrize("name", OPTIONS)
def test_predictions_on_images_are_the_runs_own_on_its_test_rows(
    name: str, store: str, digits: Any, tmp_path: Path
) -> None:
    run, options = str(tmp_path / "run"), {name: OPTIONS[name]}
    train(store, run, TrainSettings(adapters=(name,), lr=(1e-2, 3e-2), epochs=3, halving=True, options=options))
    select(run, SelectSettings(selector="best"))
    predictor = Predictor(f"{run}/bundle", compute_dtype="float32", batch_size=7)
    assert predictor.layers == tuple(range(7))
    predictions = {each.key: each for each in predictor.predict(digits.items())}
    test = pq.read_table(f"{run}/test.parquet").to_pylist()
    assert len(predictions) == len(test) > 15
    for row in test:
        assert predictions[row["key"]].probability == pytest.approx(row["probability"], abs=1e-5)
