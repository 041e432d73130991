"""A small backbone with seeded random weights, runs on stores it made of some digits, and those digits as files."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from icecore.extract import ExtractSettings, extract, open_source
from icecore.store import open_store
from icecore.train import SelectSettings, TrainSettings, select, train
from icecore.train.runs.sealed_folder import document_bytes, load_document

BACKBONE = "test_vit"  # timm's smallest: 6 blocks of width 64, 160 pixels


@pytest.fixture(scope="session")
def save_weights() -> Callable[[Path, int], Path]:
    def save(path: Path, seed: int) -> Path:
        torch.manual_seed(seed)
        save_file(timm.create_model(BACKBONE, num_classes=0).state_dict(), path)
        return path

    return save


@pytest.fixture(scope="session")
def checkpoint(save_weights: Callable[[Path, int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weights(tmp_path_factory.mktemp("weights") / f"{BACKBONE}.safetensors", 0)


@dataclass(frozen=True)
class Trained:
    """A store and a run on it."""

    store: str
    run: str

    @property
    def bundle(self) -> str:
        return f"{self.run}/bundle"


MakeTrained = Callable[..., Trained]


@pytest.fixture(scope="session")
def make_trained(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeTrained:
    """Extract, train and select with some settings; each combination once."""
    made: dict[tuple, Trained] = {}

    def make(dtype: str = "float32", tokens: str = "all", layers: str = "2,4") -> Trained:
        key = (dtype, tokens, layers)
        if key not in made:
            folder = tmp_path_factory.mktemp("trained")
            made[key] = Trained(str(folder / "digits.ice"), str(folder / "run"))
            backbone = {"backbone": BACKBONE, "checkpoint": str(checkpoint), "compute_dtype": "float32"}
            wanted = {"layers": layers, "tokens": tokens, "dtype": dtype, "limit": 93}
            extract("sklearn:digits", made[key].store, ExtractSettings.model_validate(backbone | wanted))
            grid = {"lr": (1e-2,), "weight_decay": (0.01,), "pooling": ("cls",), "epochs": 4}
            train(made[key].store, made[key].run, TrainSettings.model_validate(grid))
            select(made[key].run, SelectSettings.model_validate({}))
        return made[key]

    return make


def another(bundle: str, copy: Path, **fields: object) -> str:
    """A copy of a bundle that says something else, as if it had been made so."""
    shutil.copytree(bundle, copy)
    document = load_document(copy / "bundle.json", "")
    (copy / "bundle.json").write_bytes(document_bytes(document.content | fields, document.files or {}))
    return str(copy)


@pytest.fixture(scope="session")
def digits(make_trained: MakeTrained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The images of the store's test rows as PNG files, by key."""
    store = open_store(make_trained().store)
    wanted = {store.samples["key"][int(row)].as_py() for row in store.rows("test")}
    folder = tmp_path_factory.mktemp("digits")
    source = open_source("sklearn:digits")
    files: dict[str, Path] = {}
    for row, sample in enumerate(source.samples):
        if sample.key in wanted:
            files[sample.key] = folder / f"{sample.key.replace('/', '-')}.png"
            source.decode(source.read(row)).save(files[sample.key])
    return files
