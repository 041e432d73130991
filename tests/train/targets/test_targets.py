"""Losses are PyTorch's, figures are scikit-learn's, and every kind of target goes all the way from store to bundle."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, root_mean_squared_error
from torch import nn

from icecore.store import IcecoreError, UsageError, open_store
from icecore.train import SelectSettings, TrainSettings, load_bundle, open_run, select, train
from icecore.train.splits.resample import interval
from icecore.train.sweep.predict import predict
from icecore.train.targets import TARGETS, get_target, recorded_target
from icecore.train.targets.target import LossWeights, loss_weights_of

from ..conftest import FAST, MakeStore, predictions_of

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(3, 40, 5, generator=GENERATOR)
CLASSES = torch.randint(5, (40,), generator=GENERATOR)
FLAGS = (torch.rand(40, 5, generator=GENERATOR) < 0.3).float()
NUMBERS = torch.randn(40, 5, generator=GENERATOR) * 50 + 7
PLAIN = LossWeights()
CPU = torch.device("cpu")


def test_every_adapter_has_its_own_smoothing_and_weights() -> None:
    target = get_target("class")
    weights = target.balance(CLASSES, 5)
    loss_weights = loss_weights_of([0.0, 0.1, 0.4], [False, True, True], weights, CPU)
    losses = target.losses(OUTPUTS, CLASSES, loss_weights)
    unsmoothed = target.losses(OUTPUTS, CLASSES, loss_weights_of([0.0, 0.0, 0.0], [True, True, True], weights, CPU))
    for index, balanced in enumerate([False, True, True]):
        expected = nn.functional.cross_entropy(OUTPUTS[index], CLASSES, weights if balanced else None)
        if index == 0:
            torch.testing.assert_close(losses[index], expected)
        else:
            torch.testing.assert_close(unsmoothed[index], expected)
    smooth = target.losses(OUTPUTS, CLASSES, loss_weights_of([0.1, 0.1, 0.4], [False] * 3, None, CPU))
    for index, share in enumerate([0.1, 0.1, 0.4]):
        expected = nn.functional.cross_entropy(OUTPUTS[index], CLASSES, label_smoothing=share)
        torch.testing.assert_close(smooth[index], expected)


def test_balanced_classes_count_the_same() -> None:
    weights = get_target("class").balance(CLASSES, 5)
    counts = torch.bincount(CLASSES, minlength=5)
    torch.testing.assert_close(weights * counts, torch.full((5,), 40 / 5))


def test_losses_and_figures_of_many_labels() -> None:
    target = get_target("multilabel")
    weights = target.balance(FLAGS, 5)
    expected = nn.functional.binary_cross_entropy_with_logits(OUTPUTS[1], FLAGS, pos_weight=weights)
    loss_weights = loss_weights_of([0.0, 0.0, 0.0], [False, True, False], weights, CPU)
    torch.testing.assert_close(target.losses(OUTPUTS, FLAGS, loss_weights)[1], expected)
    table = target.predictions(OUTPUTS)[0]
    each = [average_precision_score(FLAGS[:, k], table[:, k]) for k in range(5)]
    assert target.score(table, FLAGS).score == pytest.approx(sum(each) / 5)
    loss = nn.functional.binary_cross_entropy(table, FLAGS)
    assert target.score(table, FLAGS).loss == pytest.approx(float(loss), rel=1e-5)


def test_numbers_are_learnt_in_deviations_and_said_in_their_unit() -> None:
    target = get_target("regression").fitted(NUMBERS)
    perfect = (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0, correction=0)
    truth = target.standardised(NUMBERS)
    torch.testing.assert_close(truth.float(), perfect)
    assert float(target.losses(perfect.expand(3, -1, -1), truth, PLAIN).max()) < 1e-9
    torch.testing.assert_close(target.in_data_unit(perfect).float(), NUMBERS)
    guess = NUMBERS + OUTPUTS[0] * 20
    assert target.score(target.standardised(guess), truth).score == pytest.approx(r2_score(NUMBERS, guess), rel=1e-5)
    figures = target.metrics(target.standardised(guess), truth)
    assert figures["mae"] == pytest.approx(mean_absolute_error(NUMBERS, guess), rel=1e-5)
    assert figures["rmse"] == pytest.approx(root_mean_squared_error(NUMBERS.flatten(), guess.flatten()), rel=1e-5)
    assert recorded_target({"name": "regression", **target.model_dump(mode="json")}) == target


@pytest.mark.parametrize("shift", [0.0, 1.0, -3.0, 1e3])
@pytest.mark.parametrize("scale", [5e-324 * 2**30, 1e-300, 1e-9, 1.0, 1e39, 1e300, 1e304])
def test_neither_size_nor_offset_of_a_number_matters(scale: float, shift: float) -> None:
    plain = torch.cat([NUMBERS, NUMBERS.flip(0)]).double()
    moved = (plain / 100 + shift) * scale
    one, other = (get_target("regression").fitted(values) for values in (plain, moved))
    truth = other.standardised(moved)
    torch.testing.assert_close(truth, one.standardised(plain), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(other.in_data_unit(truth), moved, rtol=1e-12, atol=0)
    guess = truth + torch.cat([OUTPUTS[0], OUTPUTS[1]]) / 9
    assert other.score(guess, truth).score == pytest.approx(1 - 1 / 81, abs=5e-3)
    assert all(math.isfinite(figure) for figure in other.metrics(guess, truth).values())
    assert np.array_equal(one.strata(plain), other.strata(moved))
    assert recorded_target(json.loads(json.dumps({"name": "regression", **other.model_dump(mode="json")}))) == other


def test_a_small_spread_about_a_large_offset_is_not_lost() -> None:
    values = 1e9 + torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    target = get_target("regression").fitted(values)
    truth = target.standardised(values)
    assert float(truth.std(correction=0)) == pytest.approx(1, rel=1e-6)
    assert float((target.in_data_unit(truth.float()) - values).abs().max()) < 1e-6


def test_the_ends_of_float64_are_numbers_like_others() -> None:
    most = sys.float_info.max
    values = torch.tensor([[-most, 0.0], [most, 5e-324], [most / 2, 0.0]], dtype=torch.float64)
    target = get_target("regression").fitted(values)
    truth = target.standardised(values)
    assert truth.isfinite().all()
    assert truth.abs().max() < 2
    assert target.in_data_unit(truth * 3).isfinite().all()
    torch.testing.assert_close(target.in_data_unit(truth)[:, 0], values[:, 0], rtol=1e-12, atol=0)
    far = target.standardised(torch.tensor([[0.0, most]], dtype=torch.float64))
    assert math.isfinite(target.score(truth[:1].float(), far).loss)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e300, 1e-300])
def test_a_number_that_never_varies_is_the_prediction(constant: float) -> None:
    varying = torch.linspace(0, 1, 13, dtype=torch.float64)
    values = torch.stack([torch.full_like(varying, constant), varying], 1)
    target = get_target("regression").fitted(values)
    outputs = torch.randn(2, 13, 2, generator=torch.Generator().manual_seed(3))
    said = target.in_data_unit(target.predictions(outputs))
    assert (said[..., 0] == constant).all()
    truth = target.standardised(values)
    assert target.score(truth, truth) == (0.5, 0.0)
    other = target.standardised(values + torch.tensor([constant or 1.0, 0.0]))
    assert target.score(target.predictions(outputs)[0], other).score == pytest.approx(
        target.score(target.predictions(outputs)[0], truth).score
    )


SIZES = [((75_000.0, 125_000.0), (1e-300, 0.0), (1e300, 0.0)), ((1.0, 1e9), (1e39, 0.0), (5e-320, 0.0))]


@pytest.mark.parametrize("sizes", SIZES)
def test_a_sweep_of_numbers_of_any_size_is_the_sweep_of_plain_ones(
    make_store: MakeStore, tmp_path: Path, sizes: tuple[tuple[float, float], ...]
) -> None:
    plain = torch.rand(131, 3, generator=torch.Generator().manual_seed(5)).double()
    moved = torch.stack([plain[:, k] * scale + shift for k, (scale, shift) in enumerate(sizes)], 1)
    scores: list[float] = []
    fast = FAST.model_copy(update={"adapters": ("ridge", "linear"), "layers": "1", "epochs": 3, "heads": None})
    for name, values in (("plain", plain), ("moved", moved)):
        listed = [tuple(row) for row in values.tolist()]
        url = make_store(planted=1, targets=listed, target="regression", shows=plain, name=f"{name}.ice")
        run = train(url, str(tmp_path / name), fast)
        kept, store = run.validation_predictions(), open_store(url)
        again = predict(store, kept.rows.numpy(), run.tensors(), kept.candidates, run.target, CPU)
        for one, table in zip(kept.candidates, predictions_of(kept), strict=True):
            torch.testing.assert_close(table, again[one.adapter_id])
        selection = select(run.path, SelectSettings(selector="greedy", num_resamples=100))
        assert selection.test is not None
        scores += [selection.validation.score, selection.test.score, selection.validation.loss]
        bundle, said = load_bundle(f"{run.path}/bundle"), pq.read_table(f"{run.path}/test.parquet")
        rows = said["row"].to_numpy()
        told, truth = (np.array(said[column].to_pylist()) for column in ("prediction", "label"))
        assert np.array_equal(truth, values.numpy()[rows])
        tokens = {k: store.layer(k).rows(rows) for k in bundle.layers}
        np.testing.assert_allclose(bundle.predict(tokens).numpy(), told, rtol=1e-4)
        assert float(np.abs((told - truth) / (truth.max(0) - truth.min(0))).max()) < 3
    assert scores[:3] == pytest.approx(scores[3:], rel=1e-3, abs=1e-3)
    assert scores[0] > 0.05  # something is learnt


def test_numbers_kept_before_in_float16_are_read_in_their_unit(make_store: MakeStore, tmp_path: Path) -> None:
    listed = [(50_000.0 + 15 * row, row / 7, 1.0) for row in range(131)]
    url, out = make_store(targets=listed, target="regression"), tmp_path / "r"
    ridge = TrainSettings(adapters=("ridge",), layers="1", device="cpu", compute_dtype="float32")
    run = train(url, str(out), ridge)
    now = run.validation_predictions()
    told, truth = (run.target.in_data_unit(values).numpy() for values in (predictions_of(now), now.labels))
    (out / "validation.safetensors").unlink()
    facts = json.loads((out / "run.json").read_text())
    for name in ("files", "checksum"):  # earlier versions sealed no RUN
        facts.pop(name, None)
    (out / "run.json").write_text(json.dumps(facts | {"format": 1}))
    columns = {
        "adapter_id": np.repeat([one.adapter_id for one in now.candidates], len(truth)),
        "row": now.rows.repeat(len(told)).numpy(),
        "predictions": pa.array(list(told.reshape(-1, 3).astype(np.float16)), pa.list_(pa.float16())),
        "label": pa.array(list(np.tile(truth, (len(told), 1)).astype(np.float32)), pa.list_(pa.float32())),
    }
    pq.write_table(table := pa.table(columns), out / "validation.parquet")
    before = open_run(str(out)).validation_predictions()
    torch.testing.assert_close(before.labels, now.labels, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(predictions_of(before), predictions_of(now), rtol=0, atol=32 / 500)
    large = pa.array([[math.inf, 0.0, 1.0]] * len(table), pa.list_(pa.float16()))
    pq.write_table(table.set_column(2, "predictions", large), out / "validation.parquet")
    with pytest.raises(IcecoreError, match="some predictions were too large for float16; train into a new RUN"):
        open_run(str(out)).validation_predictions()


def test_probabilities_are_kept_as_they_were_measured(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(planted=1)
    run = train(url, str(tmp_path / "r"), FAST.model_copy(update={"layers": "1", "epochs": 30, "lr": (0.3,)}))
    kept, last = run.validation_predictions(), {row["adapter_id"]: row for row in run.results.to_pylist()}
    figures = zip(kept.candidates, kept.scores.tolist(), kept.row_losses.mean(1).tolist(), strict=True)
    for one, score, loss in figures:
        told = last[one.adapter_id]
        assert score == told["validation_score"]
        assert loss == pytest.approx(told["validation_loss"], rel=1e-5)
    assert not torch.equal(
        kept.loss_terms, kept.loss_terms.half().float()
    )  # float16 would have rounded what is weighed


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_goes_from_store_to_bundle(make_store: MakeStore, tmp_path: Path, name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    flags = (torch.rand(300, 3, generator=generator) < 0.4).float()
    targets = {"multilabel": flags, "regression": torch.rand(300, 3, generator=generator)}.get(name)
    listed = None if targets is None else [tuple(row) for row in targets.tolist()]
    url = make_store(300, planted=1, targets=listed, target=name)
    run = train(url, str(tmp_path / "r"), FAST.model_copy(update={"epochs": 20, "adapters": ("inca",)}))
    selection = select(str(tmp_path / "r"), SelectSettings(selector="best", num_resamples=100))
    assert [member.layer for member in selection.selected] == [1]
    assert selection.test is not None
    assert selection.test.score > (0.25 if name == "regression" else 0.8)
    assert selection.test.low <= selection.test.score <= selection.test.high
    bundle, said = load_bundle(str(tmp_path / "r" / "bundle")), pq.read_table(tmp_path / "r" / "test.parquet")
    tokens = {k: open_store(url).layer(k).rows(said["row"].to_numpy()) for k in bundle.layers}
    if name != "class":
        told = torch.tensor(said["prediction"].to_pylist(), dtype=torch.float64)
        torch.testing.assert_close(bundle.predict(tokens).double(), told, rtol=1e-5, atol=1e-5)
    kept = open_run(run.path).validation_predictions()
    assert kept.target.score_name == selection.score_name
    assert len(kept.labels) == kept.tables.num_rows


def test_what_a_number_has_not_is_refused(make_store: MakeStore, tmp_path: Path) -> None:
    url = make_store(targets=[(float(row), 0.0, 1.0) for row in range(131)], target="regression")
    for axis, message in (("label_smoothing", "label smoothing"), ("class_weights", "class weights 'balanced'")):
        value = (0.1,) if axis == "label_smoothing" else ("balanced",)
        with pytest.raises(UsageError, match=f"{message}: the target is regression, which has no classes"):
            train(url, str(tmp_path / axis), FAST.model_copy(update={axis: value}))


def test_unknown_labels_count_in_no_loss_and_in_no_figure() -> None:
    target, known = get_target("multilabel"), torch.rand(40, 5, generator=GENERATOR) < 0.7
    known[:, 0] = True  # every row has a label, class 3 has none
    known[:, 3] = False
    labels = FLAGS.where(known, torch.nan)
    outputs = OUTPUTS.clone().requires_grad_()
    target.losses(outputs, labels, PLAIN).sum().backward()
    assert outputs.grad is not None
    assert bool((outputs.grad[:, ~known] == 0).all())
    assert bool((outputs.grad[:, known] != 0).all())
    for index in range(3):
        alone = target.losses(OUTPUTS[index : index + 1], labels, PLAIN)[0]
        torch.testing.assert_close(target.losses(OUTPUTS, labels, PLAIN)[index], alone, rtol=0, atol=0)
        expected = nn.functional.binary_cross_entropy_with_logits(OUTPUTS[index][known], FLAGS[known])
        torch.testing.assert_close(alone, expected)
    table = target.predictions(OUTPUTS)[0]
    there = [k for k in range(5) if k != 3 and bool(FLAGS[known[:, k], k].any())]
    each = [average_precision_score(FLAGS[known[:, k], k], table[known[:, k], k]) for k in there]
    assert target.score(table, labels).score == pytest.approx(sum(each) / len(each))
    rows = [nn.functional.binary_cross_entropy(table[row][known[row]], FLAGS[row][known[row]]) for row in range(40)]
    assert target.score(table, labels).loss == pytest.approx(float(torch.stack(rows).mean()), rel=1e-5)
    other = table.where(known, 1 - table)
    assert target.metrics(other, labels) == target.metrics(table, labels)
    balance = target.balance(labels, 5)
    torch.testing.assert_close(balance[0], (1 - FLAGS[:, 0].mean()) / FLAGS[:, 0].mean())
    assert bool(balance.isfinite().all())
    regression_targets = target.regression_targets(labels, 5)
    assert torch.equal(regression_targets[known], FLAGS[known])
    torch.testing.assert_close(regression_targets.mean(0)[:3], labels.nanmean(0)[:3])
    assert target.known(labels).all()
    assert not target.known(torch.full((1, 5), torch.nan)).any()


def test_resamples_in_which_no_class_occurs_do_not_spoil_an_interval() -> None:
    target, labels = get_target("multilabel"), torch.tensor([[1.0, 0.0], [0.0, torch.nan], [0.0, 0.0]])
    table = torch.tensor([[0.9, 0.2], [0.3, 0.4], [0.1, 0.6]])
    again = lambda rows: target.score(table[rows], labels[rows]).score  # noqa: E731
    low, high = interval(again, torch.arange(3), 0.9, 100, 0)
    assert (low, high) == (1.0, 1.0)
