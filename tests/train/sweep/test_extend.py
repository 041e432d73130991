"""Classes that come later: only their rows are trained and read, and what was there stays to the last bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from icecore.store import LayerReader, UsageError, open_store
from icecore.train import Run, SelectSettings, TrainSettings, load_bundle, select, train
from icecore.train.adapters.open_inca import PER_CLASS, OpenInCA
from icecore.train.targets.one_class import OneClass
from icecore.train.targets.target import LossWeights

from ..conftest import FAST, MakeStore, predictions_of

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
    kept = new.validation_predictions()
    assert set(kept.labels.tolist()) == {2, 3}
    assert kept.target.score(predictions_of(kept)[0][:, 2:], kept.labels - 2).score > 0.8
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
    for asked, message in (
        ({"adapters": ("inca",)}, r"--adapters inca: open_inca alone can be extended; leave it out"),
        ({"layers": "0"}, r"--layers 0: the adapter that is extended reads layer 1; leave it out"),
        ({"heads": (2,)}, r"num_heads \[2\]: the adapter that is extended has 4; leave it out"),
        (
            {"options": {"open_inca": {"scale": [4.0]}}},
            r"scale \[4.0\]: the adapter that is extended has 8.0; leave it",
        ),
        ({"queries": (2,)}, r"--queries: none of the adapters open_inca has num_queries"),
    ):
        with pytest.raises(UsageError, match=message):
            train(stores[1], out, further(tmp_path / "old", **asked))
    with pytest.raises(UsageError, match=r"--extend RUN and --classes new: expected both"):
        train(stores[1], out, further(tmp_path / "old", classes="all"))
    assert not (tmp_path / "r").exists()


def test_new_classes_learn_by_the_loss_that_the_recipe_says(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With C new classes, n_c of n rows each: w_c = n / (C n_c), and a smoothed cross-entropy weighed by w."""
    first = make_store(130, planted=1, labels=[row % 2 for row in range(130)], classes=("ant", "bee"), name="a.ice")
    labels = [(0, 1, 1, 1, 2, 2, 2)[row % 7] for row in range(131)]
    labels[::9] = [1] * len(labels[::9])  # cow is more often than dog
    second = make_store(planted=1, labels=labels, classes=("bee", "cow", "dog"), name="b.ice")
    train(first, str(tmp_path / "old"), FIRST)
    heard: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    original = OneClass.losses

    def spy(self: OneClass, outputs: torch.Tensor, labels: torch.Tensor, loss_weights: LossWeights) -> torch.Tensor:
        found = original(self, outputs, labels, loss_weights)
        heard.append((outputs.detach(), labels, found.detach()))
        return found

    monkeypatch.setattr(OneClass, "losses", spy)
    asked = {"label_smoothing": (0.0, 0.4), "class_weights": ("none", "balanced"), "epochs": 1, "batch_size": 500}
    new = train(second, str(tmp_path / "new"), further(tmp_path / "old", **asked))
    ((outputs, truth, losses),) = heard  # one step of one batch: all train rows of the new classes
    assert len(truth) == new.facts["validation"]["num_train_rows"]
    counts = torch.bincount(truth, minlength=2)
    assert counts[0] > counts[1] > 0
    recipes = [new.candidates[key].recipe for key in new.results["adapter_id"].to_pylist()]
    assert len({(recipe.label_smoothing, recipe.class_weights) for recipe in recipes}) == 4
    for mine, recipe, loss in zip(outputs, recipes, losses, strict=True):
        logs = torch.log_softmax(mine, -1)
        each = -(1 - recipe.label_smoothing) * logs[torch.arange(len(truth)), truth]
        each = each - recipe.label_smoothing * logs.mean(-1)
        weights = (len(truth) / (2 * counts) if recipe.class_weights == "balanced" else torch.ones(2))[truth]
        torch.testing.assert_close(loss, (each * weights).sum() / weights.sum())
