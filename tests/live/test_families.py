"""Stores, runs and predictions of backbones whose layers are feature maps, and of another image size."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import save_file

from icecore.cli.commands.inspect import inspect
from icecore.extract import ExtractSettings, extract
from icecore.live import Predictor, export
from icecore.store import IdentityError, UsageError, open_store
from icecore.train import SelectSettings, TrainSettings, select, train


def extracted(folder: Path, name: str, img_size: int) -> str:
    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), folder / "weights.safetensors")
    wanted = {"compute_dtype": "float32", "dtype": "float32", "limit": 93, "img_size": img_size}
    settings = {"backbone": name, "checkpoint": str(folder / "weights.safetensors"), **wanted}
    extract("sklearn:digits", str(folder / "digits.ice"), ExtractSettings.model_validate(settings))
    return str(folder / "digits.ice")


def trained(store: str, run: str, **settings: Any) -> None:
    grid = {"lr": (1e-2,), "weight_decay": (0.01,), "pooling": ("mean",), "epochs": 2}
    train(store, run, TrainSettings.model_validate(grid | settings))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_a_program_of_feature_maps_takes_any_number_of_images(name: str, tmp_path: Path) -> None:
    trained(extracted(tmp_path, name, 64), str(tmp_path / "run"))
    select(str(tmp_path / "run"), SelectSettings())
    assert export(f"{tmp_path}/run/bundle", str(tmp_path / "m.pt2"), "torch").largest_difference <= 1e-3


@pytest.mark.parametrize(
    ("name", "img_size"), [("test_resnet", 64), ("test_convnext", 64), ("test_efficientnet", 64), ("test_vit", 96)]
)
def test_predictions_are_the_runs_own_on_its_test_rows(name: str, img_size: int, digits: Any, tmp_path: Path) -> None:
    store, run = extracted(tmp_path, name, img_size), str(tmp_path / "run")
    specs = open_store(store).spec.layers
    assert (len(set(specs.values())) > 1) == (name != "test_vit")
    trained(store, run)
    select(run, SelectSettings())
    predictor = Predictor(f"{run}/bundle", compute_dtype="float32")
    predictions = {each.key: each for each in predictor.predict(digits.items())}
    test = pq.read_table(f"{run}/test.parquet").to_pylist()
    assert len(predictions) == len(test) > 15
    for row in test:
        assert predictions[row["key"]].probability == pytest.approx(row["probability"], abs=1e-5)


def test_inspect_says_each_shape_and_why_blocks_cannot_be_rebuilt(tmp_path: Path, capsys: Any) -> None:
    inspect(extracted(tmp_path, "test_resnet", 64))
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["tokens"] == "1024 x 32, 256 x 32, 64 x 48, 16 x 192, 4 x 96, all, as float32"
    assert lines["blocks"] == "cannot be rebuilt: ResNet is no plain sequence of transformer blocks"


def test_another_image_size_is_another_store(tmp_path: Path) -> None:
    store = extracted(tmp_path, "test_resnet", 64)
    assert "--img-size 64" in open_store(store).spec.command
    with pytest.raises(IdentityError, match=r"preprocessing\.input_size: \[3, 64, 64\] in the store, \[3, 96, 96\]"):
        extracted(tmp_path, "test_resnet", 96)


def test_a_probe_of_a_missing_cls_or_norm_says_what_to_do(tmp_path: Path) -> None:
    store = extracted(tmp_path, "test_resnet", 64)
    with pytest.raises(UsageError, match="pooling 'cls' needs a CLS token, and the store has none; use --pooling mean"):
        trained(store, str(tmp_path / "run"), pooling=("cls",))
    with pytest.raises(UsageError, match="norm 'final' needs the backbone's final norm, and the store has none"):
        trained(store, str(tmp_path / "run"), options={"linear": {"norm": ["final"]}})
