"""Classes that come later: only their rows are trained and read, and what was there stays to the last bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from icecore.store import LayerReader, UsageError, open_store
from icecore.train import Run, SelectSettings, TrainSettings, load_bundle, select, train
from icecore.train.adapters.open_inca import PER_CLASS, OpenInCA

from .conftest import FAST, MakeStore

FIRST = FAST.model_copy(
    update={"adapters": ("open_inca",), "layers": "1", "options": {"open_inca": {"scale": [8.0]}}, "epochs": 12}
)


def further(run: Path, **changes: object) -> TrainSettings:
    return FIRST.model_copy(update={"extend": str(run), "classes": "new", "layers": "all", **changes})


def only(run: Run) -> tuple[str, dict[str, torch.Tensor]]:
    ((adapter_id, tensors),) = run.tensors().items()
    return adapter_id, tensors


@pytest.fixture
def stores(make_store: MakeStore) -> tuple[str, str]:
    """Two classes, then another two beside one that is known."""
    first = make_store(130, planted=1, labels=[row % 2 for row in range(130)], classes=("ant", "bee"), name="a.ice")
    second = make_store(393, planted=1, classes=("bee", "cow", "dog"), name="b.ice")
    return first, second


def test_only_new_rows_are_trained_and_only_new_classes_are_read(
    stores: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = train(stores[0], str(tmp_path / "old"), FIRST)
    read: set[int] = set()
    original = LayerReader.read_into

    def spy(self: LayerReader, into: Any, places: np.ndarray, rows: np.ndarray, view: int = 0) -> None:
        read.update(rows.tolist())
        original(self, into, places, rows, view)

    monkeypatch.setattr(LayerReader, "read_into", spy)
    new = train(stores[1], str(tmp_path / "new"), further(tmp_path / "old"))
    labels = open_store(stores[1]).labels
    assert read
    assert {int(labels[row]) for row in read} == {1, 2}  # cow and dog; of bee, which is known, no row
    assert new.facts["classes"] == ["ant", "bee", "cow", "dog"]
    (old_id, before), (_, after) = only(old), only(new)
    (candidate,) = new.candidates.values()
    assert str(candidate.config["extends"]).startswith(old_id)
    for name, tensor in before.items():
        assert torch.equal(after[name][: len(tensor)], tensor), name
        assert len(after[name]) == len(tensor) + 2 * (name in PER_CLASS), name
    kept = new.kept()
    assert set(kept.labels.tolist()) == {2, 3}
    assert kept.target.score(kept.predictions[0][:, 2:], kept.labels - 2).score > 0.8
    assert new.results["num_parameters"].to_pylist()[0] == 2 * (2 * 16 + 1)


def test_what_is_extended_is_selected_and_extended_again(
    stores: tuple[str, str], make_store: MakeStore, tmp_path: Path
) -> None:
    train(stores[0], str(tmp_path / "0"), FIRST)
    train(stores[1], str(tmp_path / "1"), further(tmp_path / "0"))
    third = make_store(66, planted=1, labels=[row % 2 for row in range(66)], classes=("eel", "fox"), name="c.ice")
    train(third, str(tmp_path / "2"), further(tmp_path / "1"))
    tokens = {1: torch.randn(5, 7, 16, generator=torch.Generator().manual_seed(0))}
    said: list[torch.Tensor] = []
    for step, names in enumerate(["ant bee", "ant bee cow dog", "ant bee cow dog eel fox"]):
        select(str(tmp_path / str(step)), SelectSettings())
        bundle = load_bundle(str(tmp_path / str(step) / "bundle"))
        assert bundle.classes == tuple(names.split())
        (adapter,) = bundle.stacks
        assert isinstance(adapter, OpenInCA)
        with torch.no_grad():
            normalised = torch.nn.functional.layer_norm(tokens[1], (16,), eps=1e-6)
            said.append(adapter._tiled(normalised))  # pyright: ignore[reportPrivateUsage]
        torch.testing.assert_close(bundle.predict(tokens), torch.softmax(said[-1][0], -1))
    assert torch.equal(said[1][..., :2], said[0])
    assert torch.equal(said[2][..., :4], said[1])


def test_what_cannot_be_extended_is_said(stores: tuple[str, str], tmp_path: Path) -> None:
    train(stores[0], str(tmp_path / "inca"), FIRST.model_copy(update={"adapters": ("inca",), "options": {}}))
    train(stores[0], str(tmp_path / "old"), FIRST)
    out = str(tmp_path / "r")
    with pytest.raises(UsageError, match=r"has no open_inca, whose classes alone can grow; train with --adapters"):
        train(stores[1], out, further(tmp_path / "inca"))
    with pytest.raises(UsageError, match=r"a.ice: has no class that .*old does not know \(2 classes\)"):
        train(stores[0], out, further(tmp_path / "old"))
    with pytest.raises(UsageError, match=r"--extend RUN and --classes new: expected both"):
        train(stores[1], out, further(tmp_path / "old", classes="all"))
    assert not (tmp_path / "r").exists()
