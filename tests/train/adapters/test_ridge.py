"""Ridge probes are least squares, whatever the rows come from, and take part in a sweep like any other family."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.linear_model import Ridge as Independent
from torch.nn.functional import one_hot

from icecore.store import UsageError, open_store
from icecore.train import SelectSettings, TrainSettings, load_bundle, open_run, select, train
from icecore.train.adapters.adapter import Scope
from icecore.train.adapters.linear import LinearConfig
from icecore.train.adapters.ridge import Ridge
from icecore.train.modules.least_squares import PENALTIES
from icecore.train.sweep.group import Group
from icecore.train.targets import get_target

from ..conftest import FROZEN, SPEC, WIDTH, MakeStore

SETTINGS = TrainSettings(
    adapters=("ridge",), options={"ridge": {"norm": ["none"]}}, device="cpu", compute_dtype="float32"
)
GRADIENTS = {"adapters": ("linear", "ridge"), "lr": (1e-2,), "weight_decay": (0.01,)}
SCOPE = Scope((1,), {1: SPEC}, 3, FROZEN)


def solved(values: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor | None = None) -> tuple[Ridge, float]:
    probe = Ridge.build(LinearConfig(norm="none"), SCOPE, [0])
    assert isinstance(probe, Ridge)
    groups = torch.arange(len(values)) if groups is None else groups
    return probe, probe.solve(values, labels, groups, get_target("class"))


def drawn(num_rows: int, signal: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(num_rows) % 3
    values = torch.randn(num_rows, WIDTH, generator=generator) * torch.linspace(0.5, 4, WIDTH) + 7
    return values + signal * torch.randn(3, WIDTH, generator=generator)[labels], labels


@pytest.mark.parametrize("num_rows", [12, 60])  # fewer rows than columns, and more
def test_it_is_least_squares_up_to_scale_and_shift_at_one_of_the_penalties(num_rows: int) -> None:
    values, labels = drawn(num_rows)
    probe, _ = solved(values, labels)
    outputs = values @ probe.weight[0].T + probe.bias[0]
    columns = ((values - values.mean(0)) / values.std(0, correction=0)).double().numpy()
    size = np.square(np.linalg.svd(columns, compute_uv=False)).mean()
    gaps: list[float] = []
    for penalty in PENALTIES:
        expected = Independent(alpha=penalty * size).fit(columns, one_hot(labels).numpy()).predict(columns)
        scaled = np.polynomial.polynomial.polyfit(expected.ravel(), outputs.detach().double().numpy().ravel(), 1)
        gaps.append(float(np.abs(scaled[0] + scaled[1] * expected - outputs.detach().numpy()).max()))
    assert min(gaps) < 1e-4


def test_the_loss_of_rows_left_out_is_the_lowest_that_a_scale_can_reach() -> None:
    values, labels = drawn(90, signal=0.7)
    probe, loss = solved(values, labels)
    seen = torch.nn.functional.cross_entropy(values @ probe.weight[0].T + probe.bias[0], labels).item()
    assert seen < loss < np.log(3)
    noise, loss_of_noise = solved(values, labels[torch.randperm(90, generator=torch.Generator().manual_seed(0))])
    assert loss_of_noise == pytest.approx(np.log(3), abs=0.05)  # it learns to say nothing
    assert noise.weight.abs().max() < 1e-3 < probe.weight.abs().max()


def test_rows_of_one_group_do_not_vouch_for_each_other() -> None:
    generator = torch.Generator().manual_seed(1)
    values, labels = torch.randn(20, WIDTH, generator=generator), torch.randint(3, (20,), generator=generator)
    twins, labels = values.repeat(3, 1), labels.repeat(3)
    _, alone = solved(twins, labels)
    _, grouped = solved(twins, labels, torch.arange(20).repeat(3))
    assert alone < 0.5
    assert grouped > 0.9 * np.log(3)


def test_what_never_varies_has_no_weight_and_what_is_not_finite_no_solution() -> None:
    values, labels = drawn(60)
    values[:, 3] = 5.0
    probe, loss = solved(values, labels)
    assert np.isfinite(loss)
    assert probe.weight[0].any(0).tolist() == [feature != 3 for feature in range(WIDTH)]
    probe, loss = solved(torch.full_like(values, 2.0), labels)
    assert loss == pytest.approx(np.log(3), abs=0.01)
    assert not probe.weight.any()
    assert np.isnan(solved(torch.full_like(values, torch.nan), labels)[1])


@pytest.mark.parametrize("num_views", [1, 2])
def test_a_sweep_has_one_probe_a_pooling_whatever_is_asked_of_gradients(
    num_views: int, make_store: MakeStore, tmp_path: Path
) -> None:
    url = make_store(400, planted=1, num_views=num_views)
    asked = GRADIENTS | {"lr": (1e-2, 3e-2), "seeds": 2, "dropout": (0.0, 0.1), "epochs": 2, "pooling": ("cls", "mean")}
    run = train(url, str(tmp_path / "run"), SETTINGS.model_copy(update=asked))
    rows = [row for row in run.results.to_pylist() if row["adapter"] == "ridge"]
    assert [row["layer"] for row in rows] == [0, 0, 1, 1, 2, 2]
    assert {(row["epoch"], row["status"], row["lr"]) for row in rows} == {(1, "ok", 0.0)}
    best = max(rows, key=lambda row: row["validation_score"])
    assert best["layer"] == 1
    assert best["validation_score"] > 0.8
    assert 0 < best["train_loss"] < 0.5


def test_predictions_do_not_depend_on_neighbours_memory_or_workers(make_store: MakeStore, tmp_path: Path) -> None:
    url, everybody = make_store(planted=1), GRADIENTS | {"epochs": 2}
    alone = train(url, str(tmp_path / "alone"), SETTINGS).tensors()
    beside = train(url, str(tmp_path / "beside"), SETTINGS.model_copy(update=everybody)).tensors()
    streamed = train(url, str(tmp_path / "streamed"), SETTINGS.model_copy(update={"memory": "170kB"})).tensors()
    for adapter_id, tensors in alone.items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(beside[adapter_id][name], tensor, rtol=0, atol=0)
            torch.testing.assert_close(streamed[adapter_id][name], tensor, rtol=1e-5, atol=1e-6)


def test_a_sweep_that_is_stopped_keeps_what_was_solved(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_store(planted=1)
    settings = SETTINGS.model_copy(
        update=GRADIENTS | {"layers": "1", "epochs": 3, "checkpoint_seconds": 0.0, "lr": (1e-2, 3e-2), "halving": True}
    )
    whole = train(url, str(tmp_path / "whole"), settings)
    original = Group._step  # pyright: ignore[reportPrivateUsage]
    left = [2]  # of the three steps that one of the candidates takes

    def step(group: Group, *args: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("stopped")
        return original(group, *args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Group, "_step", step)
    with pytest.raises(RuntimeError, match="stopped"):
        train(url, str(tmp_path / "run"), settings)
    monkeypatch.setattr(Group, "_step", original)
    monkeypatch.setattr(Ridge, "solve", None)  # it is not solved again
    again = train(url, str(tmp_path / "run"), settings)
    assert again.results.drop(["seconds"]).equals(whole.results.drop(["seconds"]))
    names = ("adapters.safetensors", "validation.safetensors")
    assert all((tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in names)


@pytest.mark.parametrize("target", ["multilabel", "regression"])
def test_it_solves_for_every_target(target: str, make_store: MakeStore, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    drawn = torch.randn(400, 3, generator=generator)
    targets = (drawn > 0.5).float() if target == "multilabel" else 10 + 2 * drawn
    rows, nothing = [tuple(row) for row in targets.tolist()], [None] * 400
    url = make_store(400, planted=2, targets=rows, target=target, labels=nothing)
    run = train(url, str(tmp_path / "run"), SETTINGS)
    rows = run.results.to_pylist()
    best = {layer: max(row["validation_score"] for row in rows if row["layer"] == layer) for layer in (0, 2)}
    assert best[2] > 0.8
    assert best[0] < 0.6


def test_a_bundle_of_ridge_probes_predicts_what_the_run_predicted(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(400, planted=1)
    train(url, str(tmp_path / "run"), SETTINGS)
    chosen = select(str(tmp_path / "run"), SelectSettings(selector="average"))
    assert chosen.test is not None
    assert chosen.test.score > 0.8
    store, bundle = open_store(url), load_bundle(str(tmp_path / "run" / "bundle"))
    rows = store.rows("test")
    tokens = {layer: store.layer(layer).rows(rows).float() for layer in bundle.layers}
    table = pq.read_table(tmp_path / "run" / "test.parquet")
    most_probable, prediction = bundle.predict(tokens).max(1)
    assert prediction.tolist() == table["prediction"].to_pylist()
    torch.testing.assert_close(most_probable, torch.tensor(table["probability"].to_pylist()), atol=1e-5, rtol=0)
    assert open_run(str(tmp_path / "run")).candidates


def test_an_option_about_gradients_is_refused(make_store: MakeStore, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"options": {"ridge": {"lr": [0.1]}}})
    with pytest.raises(UsageError, match=r"options \['lr'\] of adapter 'ridge': it is solved in closed form, which"):
        train(make_store(), str(tmp_path / "run"), settings)
