"""Every selector against itself written plainly: all predictions in memory, a draw of rows at a time, ties included."""

import math
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from icecore.train import SelectSettings
from icecore.train.runs.validation_predictions import ValidationPredictions
from icecore.train.selection.measure import Measure, RowResults
from icecore.train.selection.out_of_bag import out_of_bag_estimate, redrawn
from icecore.train.selection.selectors import SELECTORS, bagged
from icecore.train.selection.selectors.bagged import LEAST
from icecore.train.selection.selectors.lasso import NUM_STEPS, PENALTIES
from icecore.train.splits.resample import bootstraps, fold_masks, out_of_bag
from icecore.train.targets import TARGETS
from icecore.train.targets.target import Target

from .test_selectors import kept_of

SETTINGS = SelectSettings(num_resamples=100, top=4)
NUM_CLASSES, FEW_BAGS = 4, 4
Weights = Tensor


class Plain:
    """The rows of one draw: predictions, truth and blocks, with repeats where rows were drawn more than once."""

    def __init__(self, predictions: Tensor, labels: Tensor, blocks: Tensor, target: Target) -> None:
        self.predictions, self.labels, self.blocks, self.target = predictions.double(), labels, blocks, target

    def at(self, places: Tensor) -> "Plain":
        return Plain(self.predictions[:, places], self.labels[places], self.blocks[places], self.target)

    def loss(self, weights: Weights) -> float:
        return self.target.score(torch.einsum("a,arc->rc", weights.double(), self.predictions), self.labels).loss

    def losses(self) -> Tensor:
        return torch.tensor([self.target.score(one, self.labels).loss for one in self.predictions])


def best(plain: Plain) -> Weights:
    scores = [plain.target.score(one, plain.labels) for one in plain.predictions]
    place = min(range(len(scores)), key=lambda place: (-scores[place].score, scores[place].loss))
    return one_hot(torch.tensor(place), len(scores)).double()


def average(plain: Plain) -> Weights:
    num = len(plain.predictions)
    most = min(SETTINGS.top, num)
    totals = torch.zeros(most)
    for held in fold_masks(plain.blocks, 5, SETTINGS.seed):
        order = plain.at((~held).nonzero()[:, 0]).losses().argsort(stable=True)
        for k in range(most):
            equal = torch.zeros(num).index_fill(0, order[: k + 1], 1 / (k + 1))
            totals[k] += plain.at(held.nonzero()[:, 0]).loss(equal) * held.sum()
    chosen = plain.losses().argsort(stable=True)[: int(totals.argmin()) + 1]
    return torch.zeros(num).index_fill(0, chosen, 1 / len(chosen))


def forward(plain: Plain, num_steps: int) -> Weights:
    num, path, losses = len(plain.predictions), list[int](), list[float]()
    for _ in range(num_steps):
        tried = [
            plain.loss(torch.bincount(torch.tensor([*path, one]), minlength=num) / (len(path) + 1))
            for one in range(num)
        ]
        path.append(min(range(num), key=lambda one: round(tried[one], 7)))
        losses.append(round(tried[path[-1]], 7))
    best = losses.index(min(losses)) + 1
    return torch.bincount(torch.tensor(path[:best]), minlength=num) / best


def bags(plain: Plain) -> Weights:
    num = len(plain.predictions)
    weights, generator = torch.zeros(num), torch.Generator().manual_seed(SETTINGS.seed)
    num_drawn = max(math.ceil(num / 4), min(10, num))
    for drawn in bootstraps(plain.blocks, FEW_BAGS, SETTINGS.seed):
        some = torch.randperm(num, generator=generator)[:num_drawn].sort().values
        bag = plain.at(drawn)
        bag.predictions = bag.predictions[some]
        weights[some] += forward(bag, 10)
    weights = weights / weights.sum()
    weights = torch.where(weights < LEAST, 0.0, weights)
    return weights / weights.sum()


def relevances(plain: Plain) -> Tensor:
    truth = (plain.labels if plain.labels.ndim > 1 else one_hot(plain.labels, plain.predictions.shape[2])).double()
    regressors = (plain.predictions - plain.predictions.mean(1, keepdim=True)).flatten(1)
    gram, towards = regressors @ regressors.T, regressors @ (truth - truth.mean(0)).flatten()
    penalties = PENALTIES[:, None] * towards.max().clamp_min(0)
    stride = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(1e-12)
    weights = ahead = torch.zeros(len(penalties), len(gram), dtype=torch.float64)
    for step in range(NUM_STEPS):
        moved = (ahead - stride * (ahead @ gram - towards + penalties)).clamp_min(0)
        ahead, weights = moved + step / (step + 3) * (moved - weights), moved
    weights[weights.sum(1) == 0, plain.losses().argmin()] = 1.0
    return weights / weights.sum(1, keepdim=True)


def lasso(plain: Plain) -> Weights:
    totals = torch.zeros(len(PENALTIES))
    for held in fold_masks(plain.blocks, 5, SETTINGS.seed):
        unseen = plain.at(held.nonzero()[:, 0])
        paths = relevances(plain.at((~held).nonzero()[:, 0]))
        totals += torch.tensor([unseen.loss(path) for path in paths]) * held.sum()
    return relevances(plain)[totals.argmin()]


def stacking(plain: Plain) -> Weights:
    free = torch.zeros(len(plain.predictions), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([free], max_iter=100, line_search_fn="strong_wolfe")
    loss_terms = plain.target.loss_terms(plain.predictions, plain.labels)

    def loss() -> Tensor:
        solver.zero_grad()
        value = plain.target.row_losses(torch.einsum("a,arv->rv", free.softmax(0), loss_terms)).mean()
        value.backward()
        return value

    solver.step(loss)  # pyright: ignore[reportArgumentType]
    weights = free.detach().softmax(0)
    weights = torch.where(weights < 1e-3, 0.0, weights)
    return weights / weights.sum()


PLAIN: dict[str, Callable[[Plain], Weights]] = {
    "best": best,
    "average": average,
    "greedy": lambda plain: forward(plain, 30),
    "bagged": bags,
    "lasso": lasso,
    "stacking": stacking,
}


@pytest.fixture(autouse=True)
def few_bags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[bagged.__module__], "NUM_BAGS", FEW_BAGS)


CASES = [("class", False), ("class", True), ("multilabel", False), ("regression", True)]


def small(
    target: str, grouped: bool, num_adapters: int = 12, num_rows: int = 37
) -> tuple[ValidationPredictions, Plain]:
    """Adapters that know something; the last is the third again, so that ties are met."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.randint(NUM_CLASSES, (num_rows,), generator=generator)
    labels = truth if target == "class" else one_hot(truth, NUM_CLASSES).float()
    noise = torch.randn(num_adapters, num_rows, NUM_CLASSES, generator=generator)
    strength = torch.linspace(0.2, 2, num_adapters)[torch.randperm(num_adapters, generator=generator), None, None]
    outputs = noise + strength * one_hot(truth, NUM_CLASSES)
    to_predictions = {
        "class": lambda one: one.softmax(-1),
        "multilabel": torch.sigmoid,
        "regression": lambda one: one / 3,
    }
    predictions = to_predictions[target](outputs).half().float()
    predictions[-1] = predictions[2]
    groups = torch.arange(num_rows) // 3 if grouped else None
    kept = kept_of(predictions, labels, TARGETS[target](), groups=groups)
    return kept, Plain(predictions, labels, kept.blocks, kept.target)


@pytest.mark.parametrize(("target", "grouped"), CASES)
@pytest.mark.parametrize("name", SELECTORS)
def test_a_selector_chooses_as_it_does_written_plainly(name: str, target: str, grouped: bool) -> None:
    kept, plain = small(target, grouped)
    (found,) = SELECTORS[name](kept, [kept.every_row], SETTINGS)
    wanted = PLAIN[name](plain).double()
    torch.testing.assert_close(found, wanted, atol=5e-3 if name == "stacking" else 2e-4, rtol=0)
    assert plain.loss(found) <= plain.loss(wanted) + 1e-5


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - {"lasso", "stacking"}))
def test_from_draws_of_rows_it_chooses_as_from_those_rows_alone(name: str) -> None:
    kept, plain = small("class", grouped=False)
    draws = list(bootstraps(kept.blocks, 3, seed=5))
    found = SELECTORS[name](kept, draws, SETTINGS)
    wanted = torch.stack([PLAIN[name](plain.at(drawn)) for drawn in draws]).double()
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_stacking_many_draws_is_stacking_each_alone_and_no_worse_than_plainly() -> None:
    kept, plain = small("class", grouped=False)
    draws = list(bootstraps(kept.blocks, 3, seed=5))
    together = SELECTORS["stacking"](kept, draws, SETTINGS)
    alone = torch.cat([SELECTORS["stacking"](kept, [drawn], SETTINGS) for drawn in draws])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    for drawn, weights in zip(draws, together, strict=True):
        rows = plain.at(drawn)
        assert rows.loss(weights) <= rows.loss(stacking(rows)) + 1e-6


def test_a_lasso_from_all_rows_twice_is_that_from_all_rows() -> None:
    kept, _ = small("class", grouped=True)
    one, two = SELECTORS["lasso"](kept, [kept.every_row, kept.every_row.repeat(2)], SETTINGS)
    torch.testing.assert_close(one, two, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("target", "grouped"), CASES)
def test_the_honest_estimate_is_that_of_every_choice_by_itself(target: str, grouped: bool) -> None:
    kept, plain = small(target, grouped)
    ids = [one.adapter_id for one in kept.candidates]
    draws = redrawn(kept, SETTINGS)
    choices = [dict(zip(ids, best(plain.at(one)).tolist(), strict=True)) for one in draws]
    found = out_of_bag_estimate(kept, SETTINGS, draws, choices, 1.0)
    scores, losses = list[float](), list[float]()
    for drawn in bootstraps(kept.blocks, 50, SETTINGS.seed):
        unseen = plain.at(out_of_bag(drawn, len(kept.rows)))
        chosen = torch.einsum("a,arc->rc", best(plain.at(drawn)), unseen.predictions)
        score = kept.target.score(chosen, unseen.labels)
        scores.append(score.score)
        losses.append(score.loss)
    assert found is not None
    assert found.score == pytest.approx(torch.tensor(scores).mean().item(), abs=1e-6)
    assert found.loss == pytest.approx(torch.tensor(losses).mean().item(), rel=1e-5)
    assert found.num_choices == len(scores)


@pytest.mark.parametrize(("target", "grouped"), CASES)
def test_figures_are_those_of_the_predictions_themselves(target: str, grouped: bool) -> None:
    kept, plain = small(target, grouped)
    weights = torch.linspace(0, 1, 12).softmax(0).double()[None]
    answers = RowResults(kept.verdicts_of(weights, [kept.every_row])[0], kept.losses_of(weights)[0])
    figures = Measure(kept.target, SETTINGS).figures(answers, kept.labels, kept.groups)
    table = torch.einsum("a,arc->rc", weights[0], plain.predictions)
    score = kept.target.score(table, kept.labels)
    assert (figures.score, figures.loss) == pytest.approx((score.score, score.loss), rel=1e-5)
    again = [
        kept.target.score(table[drawn], kept.labels[drawn]).score
        for drawn in bootstraps(kept.blocks, SETTINGS.num_resamples, SETTINGS.seed)
    ]
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.quantile(torch.tensor(again, dtype=torch.float64), tails).tolist()
    assert (figures.low, figures.high) == pytest.approx((low, high), rel=1e-5)
