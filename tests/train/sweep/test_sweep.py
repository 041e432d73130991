"""The axes of a sweep: what is asked for, else each family's own."""

import pytest

from icecore.store import open_store
from icecore.train import TrainSettings
from icecore.train.runs.candidate import Candidate
from icecore.train.sweep.grid import sweep

from ..conftest import MakeStore


def rates(candidates: list[Candidate], adapter: str) -> set[tuple[float, float]]:
    return {(one.recipe.lr, one.recipe.weight_decay) for one in candidates if one.adapter == adapter}


OWN = {
    "linear": {(1e-3, 0.01), (1e-3, 0.3), (3e-3, 0.01), (3e-3, 0.3)},
    "vqt": {(0.025, 0.0), (0.1, 0.0)},
    "head2toe": {(0.01, 0.0)},
}


def test_every_family_has_rates_of_its_own(make_store: MakeStore) -> None:
    found = sweep(open_store(make_store()), TrainSettings(adapters=tuple(OWN)))
    assert {name: rates(found, name) for name in OWN} == OWN
    assert sorted(str(one.config["keep"]) for one in found if one.adapter == "head2toe") == ["0.02", "0.1", "0.5"]


@pytest.mark.parametrize("name", OWN)
def test_what_is_asked_for_replaces_a_familys_own_and_options_replace_that(name: str, make_store: MakeStore) -> None:
    store = open_store(make_store())
    asked = TrainSettings(adapters=tuple(OWN), lr=(0.5,))
    assert rates(sweep(store, asked), name) == {(0.5, decay) for _, decay in OWN[name]}
    options = asked.model_copy(update={"options": {name: {"lr": [0.25], "weight_decay": [1.0]}}})
    assert rates(sweep(store, options), name) == {(0.25, 1.0)}


def test_families_that_read_all_layers_are_trained_once(make_store: MakeStore) -> None:
    found = sweep(open_store(make_store()), TrainSettings(adapters=("vqt", "synqt", "head2toe")))
    assert {one.layers for one in found} == {(0, 1, 2)}
