"""Every score against a plain computation of what it says it is; what none may depend on; what each must find."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from icecore.store import IcecoreError, IncompleteError, LayerReader, UsageError, open_store
from icecore.train import ScoreSettings, score, train
from icecore.train.modules.least_squares import PENALTIES, LeastSquares
from icecore.train.scores import SCORES
from icecore.train.scores.features import FeatureFitter, Features
from icecore.train.scores.gbc import NARROWEST
from icecore.train.scores.nleep import REGULARISATION
from icecore.train.scores.score import top_layers

from ..conftest import FAST, LAYERS, MakeStore

ALL = ScoreSettings(scores=tuple(SCORES))
SHAPES = [(60, 8), (30, 50)]  # more rows than columns, and fewer


def gathered(values: Tensor, labels: Tensor, groups: Tensor | None = None, batch_size: int = 1000) -> Features:
    fitter = FeatureFitter()
    groups = torch.arange(len(labels)) if groups is None else groups
    parts = [one.split(batch_size) for one in (values, labels, groups)]
    for batch in zip(*parts, strict=True):
        fitter.update(*batch)
    return fitter.fit()


def drawn(num_rows: int, width: int, signal: float = 1.0, num_classes: int = 3, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_rows) % num_classes
    directions = torch.randn(num_classes, width, generator=generator) * signal
    values = torch.randn(num_rows, width, generator=generator) * torch.linspace(0.5, 4, width) + directions[labels]
    return gathered(
        values, labels, torch.arange(num_rows) // 4 * torch.tensor([1, 0, 1, 1]).repeat(num_rows)[:num_rows]
    )


def squares(features: Features) -> LeastSquares:
    return LeastSquares(*features.factors, features.targets, features.groups)


@pytest.mark.parametrize(("num_rows", "width"), SHAPES)
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 30.0])
def test_ridge_says_what_explicit_refits_without_the_group_say(num_rows: int, width: int, penalty: float) -> None:
    features = drawn(num_rows, width)
    assert len(features.groups.unique(return_counts=True)[1].unique()) > 1  # groups of several sizes
    size = float(torch.linalg.svdvals(features.values).square().mean())
    columns = torch.cat([torch.ones(num_rows, 1).double(), features.values], 1)
    penalties = torch.diag(torch.tensor([0.0] + [penalty * size] * width).double())
    for group in features.groups.unique():
        out, rest = features.groups == group, columns[features.groups != group]
        weights = torch.linalg.solve(rest.T @ rest + penalties, rest.T @ features.targets[features.groups != group])
        found = squares(features).held_out(penalty)[out]
        torch.testing.assert_close(found, columns[out] @ weights, atol=1e-8, rtol=1e-6)


def test_ridge_is_the_accuracy_at_the_penalty_of_least_error() -> None:
    features = drawn(60, 8)
    tables = [squares(features).held_out(penalty) for penalty in PENALTIES]
    best = tables[int(np.argmin([float((table - features.targets).square().sum()) for table in tables]))]
    assert SCORES["ridge"](features) == float((best.argmax(1) == features.labels).double().mean())


def test_knn_is_the_vote_of_the_nearest_of_other_groups() -> None:
    features = drawn(60, 8)
    near, rows = NearestNeighbors(n_neighbors=60, metric="cosine").fit(features.values).kneighbors(features.values)
    correct = 0
    for row in range(60):
        votes, counted = np.zeros(3), 0
        for distance, other in zip(near[row], rows[row], strict=True):
            if features.groups[other] != features.groups[row] and counted < 10:
                votes[int(features.labels[other])] += np.exp((1 - distance) / 0.07)
                counted += 1
        correct += int(votes.argmax()) == int(features.labels[row])
    assert SCORES["knn"](features) == correct / 60


@pytest.mark.parametrize(("num_rows", "width"), SHAPES)
@pytest.mark.parametrize("signal", [1.0, 0.3])
def test_logme_is_the_greatest_marginal_likelihood(num_rows: int, width: int, signal: float) -> None:
    features = drawn(num_rows, width, signal)
    contrasts = np.linalg.svd(np.eye(num_rows) - 1 / num_rows)[0][:, :-1]  # all but the bias
    gram = contrasts.T @ (features.values @ features.values.T).numpy() @ contrasts
    found: list[float] = []
    for target in (features.targets.T.numpy() @ contrasts).copy():

        def loss(logs: np.ndarray, target: np.ndarray = target) -> float:
            alpha, beta = np.exp(logs)
            return -multivariate_normal.logpdf(target, cov=np.eye(len(gram)) / beta + gram / alpha)

        found.append(
            min(
                minimize(loss, [start, 1.0], method="Nelder-Mead", bounds=[(-20, 20)] * 2).fun
                for start in (0.0, 4.0, 8.0)
            )
        )
    assert SCORES["logme"](features) == pytest.approx(-np.mean(found) / (num_rows - 1), abs=2e-4)


@pytest.mark.parametrize(("num_rows", "width"), SHAPES)
@pytest.mark.parametrize("name", ["ridge", "knn", "logme", "h_score", "cka", "fisher", "gbc"])
def test_neither_scale_nor_rotation_matters(name: str, num_rows: int, width: int) -> None:
    features = drawn(num_rows, width)
    rotation, _ = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(3)).double())
    turned = Features(37 * features.values @ rotation, features.labels, features.groups)
    assert SCORES[name](turned) == pytest.approx(SCORES[name](features), rel=1e-6)


def test_h_score_is_the_trace_of_shrunk_covariances() -> None:
    features = drawn(60, 20)
    values, labels = features.values.numpy(), features.labels.numpy()
    fitted = LedoitWolf().fit(values)
    means = np.stack([values[labels == label].mean(0) for label in labels])
    between = np.cov(means.T, bias=True)
    expected = (1 - fitted.shrinkage_) * np.trace(np.linalg.inv(fitted.covariance_) @ between)
    assert SCORES["h_score"](features) == pytest.approx(expected)


def test_cka_is_the_kernel_alignment_with_the_labels() -> None:
    features = drawn(60, 8)
    centring = torch.eye(60).double() - 1 / 60
    kernel = centring @ features.values @ features.values.T @ centring
    of_labels = centring @ features.targets @ features.targets.T @ centring
    assert SCORES["cka"](features) == pytest.approx(
        float((kernel * of_labels).sum() / kernel.norm() / of_labels.norm())
    )
    perfect = Features(features.centred_targets, features.labels, features.groups)
    assert SCORES["cka"](perfect) == pytest.approx(1)


def test_fisher_is_between_over_within() -> None:
    features = drawn(60, 8)
    between = within = 0.0
    for label in range(3):
        values = features.values[features.labels == label]
        between += len(values) * float(values.mean(0).square().sum())
        within += float((values - values.mean(0)).square().sum())
    assert SCORES["fisher"](features) == pytest.approx(between / within)


def test_gbc_is_the_overlap_of_every_pair_of_classes() -> None:
    features = drawn(60, 8, signal=0.3)
    means = [features.values[features.labels == label].mean(0) for label in range(3)]
    variances = [float(features.values[features.labels == k].var(0, correction=0).mean()) for k in range(3)]
    assert min(variances) > NARROWEST
    overlap = 0.0
    for i in range(3):
        for j in range(3):
            covariance = torch.eye(8).double() * (variances[i] + variances[j]) / 2
            gap = means[i] - means[j]
            distance = gap @ torch.linalg.inv(covariance) @ gap / 8
            distance += 0.5 * (torch.logdet(covariance) - 4 * np.log(variances[i]) - 4 * np.log(variances[j]))
            overlap += float(torch.exp(-distance)) if i != j else 0
    assert SCORES["gbc"](features) == pytest.approx(-overlap)


def test_nleep_is_the_likelihood_by_way_of_clusters() -> None:
    features = drawn(90, 2, signal=2)
    order = features.values[:, 0].argsort()
    vectors = torch.linalg.svd(features.values, full_matrices=False)
    points = (vectors[0] * vectors[1])[:, : 1 + int(vectors[1][0] ** 2 < 0.8 * vectors[1].square().sum())].numpy()
    floor = REGULARISATION * float(points.var(0).mean())
    mixture = GaussianMixture(9, covariance_type="diag", reg_covar=floor, max_iter=200, random_state=0)
    clusters = mixture.fit(points[order]).predict_proba(points)
    logs: list[float] = []
    for row in range(90):
        chance = 0.0
        for cluster in range(9):
            same = clusters[features.labels.numpy() == int(features.labels[row]), cluster].sum()
            chance += clusters[row, cluster] * same / clusters[:, cluster].sum()
        logs.append(np.log(chance))
    assert SCORES["nleep"](features) == pytest.approx(np.mean(logs))


@pytest.mark.parametrize("name", SCORES)
def test_neither_the_batches_nor_the_order_of_the_rows_matter(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    values, labels = torch.randn(131, 9, generator=generator), torch.randint(4, (131,), generator=generator)
    values[:, 0] += labels
    groups = torch.arange(131) // 3
    whole = SCORES[name](gathered(values, labels, groups))
    assert SCORES[name](gathered(values, labels, groups, batch_size=7)) == whole
    order = torch.randperm(131, generator=generator)
    assert SCORES[name](gathered(values[order], labels[order], groups[order])) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_labels_of_noise_score_as_any_other_labels_do(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(120) % 3
    for width in (5, 40):
        values = torch.randn(120, width, generator=generator)
        others = [SCORES[name](gathered(values, labels[torch.randperm(120, generator=generator)])) for _ in range(30)]
        assert abs(SCORES[name](gathered(values, labels)) - np.mean(others)) <= 4 * np.std(others)


@pytest.mark.parametrize("name", SCORES)
def test_a_layer_that_never_varies_is_scored_and_is_the_worst(name: str) -> None:
    features = drawn(60, 8)
    same = gathered(torch.full((60, 8), 0.3), features.labels)
    assert same.values.shape == (60, 0)
    assert -np.inf < SCORES[name](same) < SCORES[name](features)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_score_finds_the_layer_that_shows_the_label(make_store: MakeStore, layer: int) -> None:
    found = score(make_store(planted=layer), ALL)
    assert [(one.layer, one.name) for one in found] == [(k, name) for k in LAYERS for name in SCORES]
    for name in SCORES:
        assert max((one.score, one.layer) for one in found if one.name == name)[1] == layer, name


@pytest.mark.parametrize("name", ["ridge", "knn"])
def test_rows_of_one_group_do_not_tell_of_each_other(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(400) // 10
    labels = torch.randint(2, (40,), generator=generator)[groups]  # what a group shows says nothing of its class
    values = torch.randn(40, 30, generator=generator)[groups] + torch.randn(400, 30, generator=generator) / 10
    assert SCORES[name](gathered(values, labels)) > 0.9
    assert SCORES[name](gathered(values, labels, groups)) < 0.7


def test_groups_are_read_from_the_store(make_store: MakeStore) -> None:
    grouped = {"labels": [row // 4 % 3 for row in range(131)], "planted": 1}
    groups = [f"track {row // 60}" if row < 120 else None for row in range(131)]
    alone, together = make_store(**grouped), make_store(**grouped, groups=groups, name="grouped.ice")
    assert score(together, ScoreSettings()) != score(alone, ScoreSettings())
    assert top_layers(open_store(together), 1) == (1,)


def test_every_layer_is_read_once_and_no_test_row_ever(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(make_store(400, failed=(0, 7)))
    read: dict[int, list[int]] = {layer: [] for layer in LAYERS}
    original = LayerReader.read_into

    def spy(self: LayerReader, into: dict[str, np.ndarray], places: np.ndarray, rows: np.ndarray, *view: int) -> None:
        read[self._layer].extend(np.asarray(rows).tolist())
        original(self, into, places, rows, *view)

    monkeypatch.setattr(LayerReader, "read_into", spy)
    poolings = ("cls", "mean", "cls+mean")
    found = score(store.url, ALL.model_copy(update={"pooling": poolings}))
    assert len(found) == len(LAYERS) * len(poolings) * len(SCORES)
    for rows in read.values():
        assert sorted(rows) == store.rows("train").tolist()


def test_pooling_and_norm_say_what_is_seen(make_store: MakeStore) -> None:
    url = make_store(planted=1)
    found = score(url, ScoreSettings(pooling=("cls", "mean")))
    by = {(one.layer, one.pooling): one.score for one in found}
    assert by[1, "mean"] > 0.7 > by[1, "cls"]  # the label is on a patch
    assert score(url, ScoreSettings(scores=("logme",), norm="none")) != score(url, ScoreSettings(scores=("logme",)))


def test_a_sweep_over_the_top_trains_the_best_layers(make_store: MakeStore, tmp_path) -> None:
    url = make_store(planted=2)
    run = train(url, str(tmp_path / "r"), FAST.model_copy(update={"layers": "top:1", "epochs": 2}))
    assert {one.layer for one in run.candidates.values()} == {2}
    assert top_layers(open_store(url), 3) == LAYERS
    for count in (0, 4):
        with pytest.raises(UsageError, match=rf"layers 'top:{count}': expected a number from 1 to 3"):
            train(url, str(tmp_path / "s"), FAST.model_copy(update={"layers": f"top:{count}"}))


@pytest.mark.parametrize(
    ("labels", "splits", "groups", "message"),
    [
        ([None] * 4, ["train"] * 4, None, r"none of 4 train rows has a label \(the first is '0.png'\)"),
        ([0, 1, 0, 1], ["test"] * 4, None, r"no row is in the split 'train' \(test: 4\)"),
        ([1, 1, 1, 0], ["train"] * 3 + ["test"], None, r"3 train rows of 1 classes, expected two or more"),
        ([1, 1, 1, 0], ["train"] * 4, ["a"] * 4, r"4 train rows of 1 groups, expected two or more"),
    ],
)
def test_what_cannot_be_scored_is_said(
    make_store: MakeStore,
    labels: Sequence[int | None],
    splits: Sequence[str],
    groups: Sequence[str] | None,
    message: str,
) -> None:
    with pytest.raises(IcecoreError, match=message):
        score(make_store(4, labels=labels, splits=splits, groups=groups), ScoreSettings())


def test_an_unfinished_store_and_unknown_names_are_refused(make_store: MakeStore) -> None:
    with pytest.raises(IncompleteError, match="67 of 131 rows are missing"):
        score(make_store(num_shards=1), ScoreSettings())
    with pytest.raises(UsageError, match=r"unknown score 'rigde' \(did you mean 'ridge'\?\)"):
        score(make_store(name="t.ice"), ScoreSettings(scores=("rigde",)))
    with pytest.raises(ValueError, match="Input should be 'cls', 'mean' or 'cls\\+mean'"):
        ScoreSettings.model_validate({"pooling": ["max"]})
