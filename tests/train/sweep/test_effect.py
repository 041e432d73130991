"""Every option that is given changes what comes of a sweep, or is refused with the reason."""

from pathlib import Path
from typing import Any

import pytest
import torch

from icecore.store import UsageError
from icecore.train import TrainSettings, train
from icecore.train.runs.candidate import Candidate, Recipe
from icecore.train.settings import parse_bytes

from ..conftest import MakeStore

BASE: dict[str, Any] = {
    "adapters": ("inca",),
    "layers": "1",
    "lr": (1e-2,),
    "weight_decay": (0.01,),
    "epochs": 2,
    "batch_size": 32,
    "compute_dtype": "float32",
    "device": "cpu",
}
SOLVED = {"adapters": ("ridge",), "layers": "1"}
LINEAR = {"adapters": ("linear",), "layers": "1", "epochs": 1}
CASES: list[tuple[dict[str, Any], str]] = [
    (LINEAR | {"queries": (4, 16)}, "--queries: none of the adapters linear has num_queries; leave it out"),
    (LINEAR | {"heads": (3,)}, "--heads: none of the adapters linear has num_heads"),
    (BASE | {"pooling": ("cls",)}, "--pooling: none of the adapters inca has pooling"),
    (BASE | {"options": {"inca": {"lr": [0.1]}}}, "--lr: options already set lr for inca"),
    (SOLVED | {"lr": (1e-2,)}, "--lr: none of the adapters ridge has lr"),
    (SOLVED | {"weight_decay": (0.1,)}, "--weight-decay: none of the adapters ridge has weight_decay"),
    (SOLVED | {"epochs": 7}, "--epochs: none of the adapters ridge has epochs"),
    (SOLVED | {"label_smoothing": (0.1,)}, "--label-smoothing: none of the adapters ridge has label_smoothing"),
    (SOLVED | {"dropout": (0.1,)}, "--dropout: none of the adapters ridge has dropout"),
    (SOLVED | {"class_weights": ("balanced",)}, "--class-weights: none of the adapters ridge has class_weights"),
    (SOLVED | {"batch_size": 8}, "--batch-size: ridge is solved in closed form, without training"),
    (SOLVED | {"clip": 1.0}, "--clip: ridge is solved in closed form"),
    (SOLVED | {"seeds": 2}, "--seeds: ridge is solved in closed form"),
    (SOLVED | {"halving": True}, "--halving: ridge is solved in closed form"),
    (BASE | {"halving": True}, "--halving: no adapter has another to be measured against"),
    (BASE | {"halving": True, "lr": (1e-2, 1e-3), "epochs": 1}, "--halving: no adapter has another .* or an epoch to"),
    (BASE | {"folds": 2, "validation": 0.3}, "--validation: --folds hold out every train row once"),
    (BASE | {"workers": 2, "scheduler": "tcp://there:1"}, "--workers: --scheduler names a cluster"),
    (BASE | {"adapters": ("losa",), "layers": "0-2"}, "--layers: 0 of '0-2' is read by none of losa"),
    (BASE | {"layers": "6-3,1"}, "layers '6-3,1': '6-3' counts down; expected 3-6"),
    (BASE | {"layers": "0,1,0-1"}, "layers '0,1,0-1': 0, 1 twice; name each once"),
    (BASE | {"layers": "1,,2"}, "layers '1,,2': cannot read ''; expected all, sum, top:5"),
    (BASE | {"layers": "1-"}, "layers '1-': cannot read '1-'; expected all, sum, top:5"),
    (BASE | {"layers": ""}, "layers '': cannot read ''; expected all, sum, top:5"),
    (BASE | {"layers": "top:0"}, "layers 'top:0': expected a number from 1 to 3"),
]


@pytest.mark.parametrize(("asked", "message"), CASES)
def test_an_option_without_effect_is_refused(
    make_store: MakeStore, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(make_store(), str(tmp_path / "r"), TrainSettings(**asked))
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("option", ["validation", "shuffle_seed"])
def test_a_split_of_the_stores_own_is_used_as_it_is(make_store: MakeStore, tmp_path: Path, option: str) -> None:
    splits = [("train", "train", "validation", "test")[row % 4] for row in range(131)]
    asked = TrainSettings.model_validate(SOLVED | {option: {"validation": 0.2, "shuffle_seed": 1}[option]})
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')}: .*; leave it out"):
        train(make_store(splits=splits), str(tmp_path / "r"), asked)


def test_what_a_run_records_can_be_asked_for_again(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store()
    run = train(url, str(tmp_path / "r"), TrainSettings.model_validate(SOLVED))
    train(url, str(tmp_path / "again"), TrainSettings.model_validate(run.facts["settings"]))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"lr": (1e-3, 1e-3)}, "0.001 is there twice"),
        ({"lr": ()}, "expected one value or more"),
        ({"adapters": ()}, "expected one value or more"),
        ({"adapters": ("inca", "linear", "inca")}, "'inca' is there twice"),
        ({"label_smoothing": ()}, "expected one value or more"),
        ({"queries": (1, 1)}, "1 is there twice"),
        ({"options": {"inca": {"num_queries": []}}}, "expected one value or more"),
        ({"options": {"inca": {"num_queries": [2, 2]}}}, "2 is there twice"),
    ],
)
def test_a_list_says_one_thing_or_more_and_each_once(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainSettings(**asked)


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("123456", 123_456),
        ("4GB", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("4gb", 4 * 10**9),
        ("4GiB", 4 * 2**30),
        ("4Gi", 4 * 2**30),
        ("1.5 MiB", 3 * 2**19),
        ("500MB", 500 * 10**6),
        (".5kB", 500),
        ("2 TiB", 2**41),
        ("7 B", 7),
    ],
)
def test_sizes_are_decimal_unless_they_say_binary(text: str, num_bytes: int) -> None:
    assert parse_bytes(text) == num_bytes


@pytest.mark.parametrize("text", ["", "much", "4 GBB", "4iB", "-1GB", "4PB", "1e9", "4 G B"])
def test_a_size_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size such as 4GB"):
        parse_bytes(text)


RECIPES: dict[str, object] = {
    "lr": (3e-3,),
    "weight_decay": (1.0,),
    "epochs": 3,
    "batch_size": 16,
    "clip": 0.01,
    "label_smoothing": (0.3,),
    "dropout": (0.3,),
    "class_weights": ("balanced",),
}


@pytest.mark.parametrize("kind", ["sweep", "extension"])
def test_every_field_of_a_recipe_acts(
    make_store: MakeStore, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same initial parameters, in the same batches, each field of a recipe leads to others."""
    assert RECIPES.keys() | {"seed"} == Recipe.model_fields.keys()
    monkeypatch.setattr(Candidate, "init_seed", property(lambda _: 7))
    labels = [(0, 1, 2, 2, 3)[row % 5] for row in range(131)]  # unequal classes, or weights would do nothing
    url = make_store(planted=1, labels=labels, classes=("ant", "bee", "cow", "dog"), splits=["train"] * 131)
    base: dict[str, Any] = dict(BASE)
    if kind == "extension":
        first = make_store(labels=[row % 2 for row in range(131)], classes=("ant", "bee"), planted=1, name="a.ice")
        train(first, str(tmp_path / "old"), TrainSettings(**{**base, "adapters": ("open_inca",)}))
        del base["adapters"], base["layers"]
        base |= {"extend": str(tmp_path / "old"), "classes": "new"}
    found: dict[str, torch.Tensor] = {}
    for name, value in {"nothing": None, **RECIPES}.items():
        asked = base if name == "nothing" else base | {name: value}
        run = train(url, str(tmp_path / "r"), TrainSettings(**asked))
        (tensors,), (candidate,) = run.tensors().values(), run.candidates.values()
        found[name] = tensors["query"]
        if name != "nothing":
            recorded = getattr(candidate.recipe, name)
            assert recorded == (value[0] if isinstance(value, tuple) else value)
    for name in RECIPES:
        assert not torch.equal(found[name], found["nothing"]), name
