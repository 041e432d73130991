"""Losses are PyTorch's, figures are scikit-learn's, and every kind of target goes all the way from store to bundle."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import average_precision_score, r2_score
from torch import nn

from icecore.store import UsageError, open_store
from icecore.train import SelectSettings, load_bundle, open_run, select, train
from icecore.train.target import Emphasis, emphasis_of
from icecore.train.targets import TARGETS, fitted, get_target

from .conftest import FAST, MakeStore

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(3, 40, 5, generator=GENERATOR)
CLASSES = torch.randint(5, (40,), generator=GENERATOR)
FLAGS = (torch.rand(40, 5, generator=GENERATOR) < 0.3).float()
NUMBERS = torch.randn(40, 5, generator=GENERATOR) * 50 + 7
PLAIN = Emphasis()
CPU = torch.device("cpu")


def test_every_adapter_has_its_own_smoothing_and_weights() -> None:
    target = get_target("class")
    weights = target.balance(CLASSES, 5)
    emphasis = emphasis_of([0.0, 0.1, 0.4], [False, True, True], weights, CPU)
    losses = target.losses(OUTPUTS, CLASSES, emphasis)
    unsmoothed = target.losses(OUTPUTS, CLASSES, emphasis_of([0.0, 0.0, 0.0], [True, True, True], weights, CPU))
    for index, balanced in enumerate([False, True, True]):
        expected = nn.functional.cross_entropy(OUTPUTS[index], CLASSES, weights if balanced else None)
        if index == 0:
            torch.testing.assert_close(losses[index], expected)
        else:
            torch.testing.assert_close(unsmoothed[index], expected)
    smooth = target.losses(OUTPUTS, CLASSES, emphasis_of([0.1, 0.1, 0.4], [False] * 3, None, CPU))
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
    emphasis = emphasis_of([0.0, 0.0, 0.0], [False, True, False], weights, CPU)
    torch.testing.assert_close(target.losses(OUTPUTS, FLAGS, emphasis)[1], expected)
    table = target.predictions(OUTPUTS)[0]
    each = [average_precision_score(FLAGS[:, k], table[:, k]) for k in range(5)]
    assert target.score(table, FLAGS).score == pytest.approx(sum(each) / 5)
    loss = nn.functional.binary_cross_entropy(table, FLAGS)
    assert target.score(table, FLAGS).loss == pytest.approx(float(loss), rel=1e-5)


def test_numbers_are_learnt_in_deviations_and_said_in_their_unit() -> None:
    target = get_target("regression").fitted(NUMBERS)
    perfect = ((NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0, correction=0)).expand(3, -1, -1)
    assert float(target.losses(perfect, NUMBERS, PLAIN).max()) < 1e-9
    torch.testing.assert_close(target.predictions(perfect)[0], NUMBERS)
    guess = NUMBERS + OUTPUTS[0] * 20
    assert target.score(guess, NUMBERS).score == pytest.approx(r2_score(NUMBERS, guess), rel=1e-5)
    assert fitted({"name": "regression", **target.model_dump(mode="json")}) == target


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
        torch.testing.assert_close(bundle.predict(tokens), torch.tensor(said["prediction"].to_pylist()))
    kept = open_run(run.path).kept()
    assert kept.target.score_name == selection.score_name
    assert len(kept.labels) == kept.predictions.shape[1]


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
    aims = target.aims(labels, 5)
    assert torch.equal(aims[known], FLAGS[known])
    torch.testing.assert_close(aims.mean(0)[:3], labels.nanmean(0)[:3])
    assert target.known(labels).all()
    assert not target.known(torch.full((1, 5), torch.nan)).any()
