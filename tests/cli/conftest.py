"""The command as a function, a small real store and run, and runs on stores of noise for the page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from icecore.cli import main
from icecore.train import SelectSettings, TrainSettings, select, train

from ..train.conftest import write_store

BACKBONE = "test_vit"  # timm's smallest: 6 blocks of width 64, 160 pixels
LIMIT = 90


@dataclass(frozen=True)
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Icecore = Callable[..., Answer]


@pytest.fixture
def icecore(capsys: pytest.CaptureFixture[str]) -> Icecore:
    """The command, in this process."""

    def call(*words: object) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return Answer(ended.value.code if isinstance(ended.value.code, int) else 1, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded random weights of the small backbone."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / f"{BACKBONE}.safetensors"
    save_file(timm.create_model(BACKBONE, num_classes=0).state_dict(), path)
    return path


def succeed(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 0


@pytest.fixture(scope="session")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some digits, made by the command."""
    path = tmp_path_factory.mktemp("stores") / "digits.ice"
    words = ("--backbone", BACKBONE, "--checkpoint", checkpoint, "--dtype", "float32", "--compute-dtype", "float32")
    succeed("extract", "sklearn:digits", path, *words, "--layers", "0,3,6", "--limit", LIMIT)
    return path


@pytest.fixture(scope="session")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on that store, trained and selected by the command."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    succeed("train", store, "--out", path, "--epochs", 3, "--lr", "1e-2", "--weight-decay", 0.01, "--pooling", "mean")
    succeed("select", path)
    return path


CLASSES = tuple(f"sign {number:02d} <b>&" for number in range(23))
GRID = {"lr": (1e-2, 3e-3), "weight_decay": (0.01, 0.3), "epochs": 4, "batch_size": 32, "device": "cpu"}


def make_run(folder: Path, adapters: str, choice: str | None = None, grid: dict[str, Any] = GRID, **store: Any) -> Path:
    """Train on a small store of noise with a planted label, choose, and take the store away; return the run folder."""
    given: dict[str, Any] = {"num_rows": 161, "planted": 1, "classes": CLASSES, **store}
    given["labels"] = [None if "targets" in given else row % len(given["classes"]) for row in range(given["num_rows"])]
    url = write_store(folder.parent, name=f"{folder.name}.ice", **given)
    heads = (4,) if "inca" in adapters else None
    settings = grid | {"adapters": tuple(adapters.split(",")), "compute_dtype": "float32", "heads": heads}
    train(url, str(folder), TrainSettings.model_validate(settings))
    if choice is not None:
        select(str(folder), SelectSettings(selector=choice, top=3, num_resamples=100, device="cpu"))
    Path(url).rename(f"{url}.gone")
    return folder


@pytest.fixture(scope="session")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best adapter was chosen, of three families, and whose store is gone; nobody may write there."""
    return make_run(tmp_path_factory.mktemp("chosen") / "signs", "linear,inca,vqt", "best")


@pytest.fixture(scope="session")
def unchosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from which nothing was chosen."""
    return make_run(tmp_path_factory.mktemp("unchosen") / "other & co", "linear")


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from which three adapters were chosen by their test figures."""
    return make_run(tmp_path_factory.mktemp("ensemble") / "three", "linear,vqt", "average", classes=("a", "b", "c"))
