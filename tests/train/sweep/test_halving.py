from collections import Counter
from pathlib import Path

import pytest
import torch

from icecore.train import TrainSettings, select, train
from icecore.train.runs.candidate import Candidate, Recipe
from icecore.train.runs.run import Run
from icecore.train.settings import SelectSettings
from icecore.train.sweep.halving import Halving, Rung

from ..conftest import FAST, MakeStore

RUNGS = (Rung(0.25, 1 / 2), Rung(0.5, 1 / 8))
GRID = FAST.model_copy(update={"lr": (1e-4, 1e-3, 1e-2, 3e-2), "weight_decay": (0.01, 0.3), "adapters": ("inca",)})


def candidates(num: int, epochs: int = 8, layer: int = 0) -> list[Candidate]:
    recipes = [Recipe(lr=0.1 + lr, weight_decay=0.0, epochs=epochs, batch_size=32) for lr in range(num)]
    return [Candidate(adapter="inca", layers=(layer,), config={}, recipe=recipe) for recipe in recipes]


def last_epochs(run: Run) -> dict[str, tuple[int, str]]:
    return {row["adapter_id"]: (row["epoch"], row["status"]) for row in run.results.to_pylist()}


def test_a_rung_keeps_the_best_by_loss_and_says_why_the_others_stop() -> None:
    five = candidates(5)
    standing = list(zip(five, [0.5, 0.1, 0.4, 0.2, 0.3], strict=True))
    halving = Halving(five, RUNGS)
    assert halving.stopped(standing, epoch=1) == {}
    assert halving.stopped(standing, epoch=2) == {
        five[2].adapter_id: "stopped in epoch 2: 4 of 5 by validation loss",
        five[0].adapter_id: "stopped in epoch 2: 5 of 5 by validation loss",
    }
    left = [standing[1], standing[3], standing[4]]
    assert set(halving.stopped(left, epoch=4)) == {five[3].adapter_id, five[4].adapter_id}
    assert halving.stopped(left[:1], epoch=4) == {}  # the best of a contest always goes on
    assert halving.num_epochs == 5 * 2 + 3 * 2 + 1 * 4


def test_contests_do_not_look_at_each_other() -> None:
    mine, others = candidates(4), candidates(4, layer=1) + candidates(4, epochs=9)
    standing = [(one, float(place)) for place, one in enumerate(mine)]
    better = [(one, -1.0) for one in others]
    alone = Halving(mine, RUNGS).stopped(standing, epoch=2)
    together = Halving([*others, *mine], RUNGS).stopped([*better, *standing], epoch=2)
    assert alone == {key: why for key, why in together.items() if key in {one.adapter_id for one in mine}}
    assert len(alone) == 2


def test_no_rung_stops_nobody_and_a_single_candidate_is_never_stopped() -> None:
    several = candidates(5)
    assert Halving(several, ()).num_epochs == 5 * 8
    assert Halving(several[:1], RUNGS).num_epochs == 8


def test_who_goes_on_is_trained_as_if_nobody_had_stopped(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    whole = train(url, str(tmp_path / "whole"), GRID)
    halved = train(url, str(tmp_path / "halved"), GRID.model_copy(update={"halving": True}))
    kept = halved.tensors()
    assert len(whole.tensors()) == 24
    assert len(kept) == 3  # of 8 in each of 3 layers
    for adapter_id, tensors in kept.items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, whole.tensors()[adapter_id][name], rtol=1e-4, atol=1e-5)


def test_a_stopped_adapter_is_recorded_and_is_no_candidate(make_store: MakeStore, tmp_path: Path) -> None:
    settings: TrainSettings = GRID.model_copy(update={"halving": True})
    run = train(make_store(planted=1), str(tmp_path / "r"), settings)
    ends = last_epochs(run)
    finished = {key for key, (epoch, status) in ends.items() if status == "ok"}
    stopped = {key: end for key, end in ends.items() if key not in finished}
    assert set(run.candidates) == finished == {one.adapter_id for one in run.validation_predictions().candidates}
    assert all(status.startswith(f"stopped in epoch {epoch}: ") for epoch, status in stopped.values())
    assert run.facts["cost"]["num_stopped"] == len(stopped)
    assert run.facts["cost"]["num_diverged"] == 0
    assert Counter(one.layer for one in run.candidates.values()) == {0: 1, 1: 1, 2: 1}
    assert {one.adapter_id for one in select(run.path, SelectSettings()).selected} <= finished


@pytest.mark.parametrize("threads", [1, 2])
def test_who_stops_depends_on_no_thread_and_no_other_layer(make_store: MakeStore, tmp_path: Path, threads: int) -> None:
    url, halved = make_store(planted=1), GRID.model_copy(update={"halving": True})
    alone = last_epochs(train(url, str(tmp_path / "alone"), halved.model_copy(update={"layers": "1"})))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = last_epochs(train(url, str(tmp_path / "all"), halved))
    finally:
        torch.set_num_threads(before)
    assert alone == {key: end for key, end in together.items() if key in alone}


def test_an_adapter_that_diverges_takes_no_place(make_store: MakeStore, tmp_path: Path) -> None:
    wild = GRID.model_copy(update={"lr": (1e-3, 1e30), "layers": "1", "halving": True})
    run = train(make_store(planted=1), str(tmp_path / "r"), wild)
    assert run.facts["cost"]["num_diverged"] == 2
    assert len(run.candidates) == 1
