"""What every selector owes: convex weights, from validation alone, that any order and the same seed give again."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from icecore.store import UsageError, open_store
from icecore.train import SelectSettings
from icecore.train.runs.candidate import Candidate, Recipe
from icecore.train.runs.validation_file import Predictions
from icecore.train.runs.validation_predictions import ValidationPredictions
from icecore.train.selection.choice import choose, eligible
from icecore.train.selection.cost import Costs
from icecore.train.selection.out_of_bag import out_of_bag_estimate, redrawn
from icecore.train.selection.selectors import SELECTORS
from icecore.train.splits.resample import bootstraps, fold_masks, out_of_bag
from icecore.train.targets import TARGETS
from icecore.train.targets.target import Target

from ..conftest import LAYERS, NUM_TOKENS, WIDTH, MakeStore, predictions_of

ENSEMBLES = sorted(set(SELECTORS) - {"best"})
SETTINGS = SelectSettings(num_resamples=100)
RECIPE = Recipe(lr=1e-3, weight_decay=0.01, epochs=1, batch_size=8)
NUM_CLASSES = 3


def kept_of(
    predictions: Tensor,
    labels: Tensor,
    target: Target | None = None,
    layers: Sequence[int] | None = None,
    groups: Tensor | None = None,
) -> ValidationPredictions:
    """Keep some predictions, of adapters that differ by their seed."""
    layers = layers or [place % 3 for place in range(len(predictions))]
    candidates = tuple(
        Candidate(adapter="linear", layers=(layer,), config={"pooling": "cls", "norm": "final"}, recipe=recipe)
        for place, layer in enumerate(layers)
        for recipe in [RECIPE.model_copy(update={"seed": place})]
    )
    target, rows = target or TARGETS["class"](), torch.arange(predictions.shape[1])
    tables = {one.adapter_id: table for one, table in zip(candidates, predictions, strict=True)}
    found = Predictions.in_memory(tables, rows, labels, target)
    sizes = tuple(10 for _ in candidates)
    return ValidationPredictions(
        candidates, sizes, rows, labels, target, found.tables, found.loss_terms, found.verdicts, groups
    )


def choice(name: str, kept: ValidationPredictions, settings: SelectSettings = SETTINGS) -> dict[str, float]:
    """What a selector chooses from all rows."""
    weights = SELECTORS[name](kept, [kept.every_row], settings)[0].tolist()
    return {one.adapter_id: share for one, share in zip(kept.candidates, weights, strict=True) if share > 0}


def mixed(kept: ValidationPredictions, weights: dict[str, float]) -> Tensor:
    return torch.einsum("a,arc->rc", torch.tensor(shares(kept, weights)), predictions_of(kept))


def noisy(num_adapters: int = 8, num_rows: int = 60, strength: float = 1.0, seed: int = 0) -> ValidationPredictions:
    """Adapters that all know something, each with errors of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(NUM_CLASSES, (num_rows,), generator=generator)
    logits = torch.randn(num_adapters, num_rows, NUM_CLASSES, generator=generator) + strength * one_hot(labels)
    return kept_of(logits.softmax(-1), labels)


def of_target(name: str) -> ValidationPredictions:
    """Adapters of one kind of label, with errors of their own."""
    generator = torch.Generator().manual_seed(0)
    if name == "class":
        return noisy()
    labels = torch.randn(60, NUM_CLASSES, generator=generator)
    if name == "multilabel":
        labels = (labels > 0).float()
    guesses = labels + 0.5 * torch.randn(8, 60, NUM_CLASSES, generator=generator)
    return kept_of(guesses if name == "regression" else torch.sigmoid(guesses), labels, TARGETS[name]())


def complementary() -> ValidationPredictions:
    """Two adapters that each know half of the rows and say nothing of the others, among ten that know nothing."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(NUM_CLASSES, (80,), generator=generator)
    even = torch.full((80, NUM_CLASSES), 1 / NUM_CLASSES)
    sure = (0.9 * one_hot(labels) + 0.1 / NUM_CLASSES).float()
    first = torch.arange(80) % 2 == 0
    halves = [torch.where(first[:, None], sure, even), torch.where(first[:, None], even, sure)]
    noise = torch.randn(10, 80, NUM_CLASSES, generator=generator).softmax(-1)
    return kept_of(torch.cat([torch.stack(halves), noise]), labels)


def shares(kept: ValidationPredictions, weights: dict[str, float]) -> list[float]:
    return [weights.get(one.adapter_id, 0.0) for one in kept.candidates]


def loss_of(kept: ValidationPredictions, weights: dict[str, float]) -> float:
    return kept.target.score(mixed(kept, weights), kept.labels).loss


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("target", TARGETS)
def test_weights_are_convex_and_of_adapters_that_there_are(name: str, target: str) -> None:
    kept = of_target(target)
    weights = choice(name, kept)
    assert set(weights) <= {one.adapter_id for one in kept.candidates}
    assert min(weights.values()) > 0
    assert sum(weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", SELECTORS)
def test_one_adapter_has_all_the_weight(name: str) -> None:
    kept = noisy(num_adapters=1, num_rows=4)
    assert choice(name, kept) == {kept.candidates[0].adapter_id: pytest.approx(1)}


@pytest.mark.parametrize("name", SELECTORS)
def test_the_order_of_the_candidates_does_not_matter(name: str, make_store: MakeStore) -> None:
    kept, costs = noisy(), Costs(open_store(make_store()))
    settings = SETTINGS.model_copy(update={"selector": name})
    shuffled = kept.subset([5, 2, 7, 0, 1, 6, 4, 3])
    found = [choose(eligible(one, settings, costs), [one.every_row], settings, costs) for one in (kept, shuffled)]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", SELECTORS)
def test_the_same_seed_gives_the_same_choice(name: str) -> None:
    assert choice(name, noisy()) == choice(name, noisy())


@pytest.mark.parametrize("name", ENSEMBLES)
def test_adapters_that_complete_each_other_are_both_chosen(name: str) -> None:
    kept = complementary()
    first, second, *others = shares(kept, choice(name, kept))
    assert min(first, second) > 0.2
    assert max(others) < 0.1
    best = loss_of(kept, choice("best", kept))
    assert loss_of(kept, choice(name, kept)) < best


@pytest.mark.parametrize("name", SELECTORS)
def test_an_ensemble_of_one_adapter_many_times_says_what_it_says(name: str) -> None:
    one = noisy(num_adapters=1)
    many = kept_of(predictions_of(one).expand(6, -1, -1), one.labels)
    torch.testing.assert_close(mixed(many, choice(name, many)), predictions_of(one)[0])


@pytest.mark.parametrize("name", ["greedy", "stacking"])
@pytest.mark.parametrize("target", TARGETS)
def test_what_minimises_validation_loss_is_no_worse_than_the_best_alone(name: str, target: str) -> None:
    kept = of_target(target)
    assert loss_of(kept, choice(name, kept)) <= float(kept.row_losses.mean(1).min()) + 1e-6


def test_stacking_is_no_worse_than_any_other_weights() -> None:
    kept = noisy()
    stacked = loss_of(kept, choice("stacking", kept))
    assert stacked <= min(loss_of(kept, choice(name, kept)) for name in SELECTORS) + 1e-3


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_of_mixed_evidence_is_the_loss_of_mixed_predictions(target: str) -> None:
    kept = of_target(target)
    weights = torch.linspace(1, 2, len(kept.candidates)).softmax(0)
    wanted = kept.target.score(torch.einsum("a,arc->rc", weights, predictions_of(kept)), kept.labels).loss
    assert float(kept.losses_of(weights.double()[None]).mean()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", SELECTORS)
def test_labels_that_are_not_known_tell_nothing(name: str) -> None:
    kept = of_target("multilabel")
    labels = torch.where(torch.arange(60)[:, None] % 7 == torch.arange(NUM_CLASSES), torch.nan, kept.labels)
    kept = kept_of(predictions_of(kept), labels, kept.target)
    found = SELECTORS[name](kept, [kept.every_row, kept.every_row[::2]], SETTINGS)
    assert bool((found >= 0).all())
    torch.testing.assert_close(found.sum(1), torch.ones(2, dtype=torch.float64))


def test_an_average_has_equal_weights_and_no_more_members_than_asked() -> None:
    weights = choice("average", noisy(num_adapters=20), SETTINGS.model_copy(update={"top": 4}))
    assert len(weights) <= 4
    assert len(set(weights.values())) == 1


def test_within_one_standard_error_the_shallower_is_preferred() -> None:
    one = noisy(num_adapters=1)
    worse = torch.full_like(predictions_of(one), 1 / NUM_CLASSES)
    tied = kept_of(torch.cat([worse, predictions_of(one), predictions_of(one)]), one.labels, layers=[0, 1, 2])
    settings = SETTINGS.model_copy(update={"one_standard_error": True})
    assert shares(tied, choice("best", tied, settings)) == [0, 1, 0]


def test_few_groups_make_the_standard_error_larger() -> None:
    groups = torch.arange(60) // 20
    shallow = torch.tensor([0.3, 0.8, 0.6])[groups]  # worse in one group, better in another, much the same in the last
    probabilities = torch.stack([shallow, torch.full((60,), 0.6)])
    predictions = torch.stack([probabilities, 1 - probabilities], -1)
    labels, settings = torch.zeros(60, dtype=torch.int64), SETTINGS.model_copy(update={"one_standard_error": True})
    by_row = kept_of(predictions, labels, layers=[0, 1])
    by_group = kept_of(predictions, labels, layers=[0, 1], groups=groups)
    assert shares(by_row, choice("best", by_row, settings)) == [0, 1]
    assert shares(by_group, choice("best", by_group, settings)) == [1, 0]


def test_limits_hold_and_the_cost_is_of_what_is_read(make_store: MakeStore) -> None:
    kept, costs = noisy(num_adapters=9), Costs(open_store(make_store()))
    settings = SETTINGS.model_copy(update={"selector": "average", "max_layer": 1})
    assert {one.layer for one in eligible(kept, settings, costs).candidates} == {0, 1}
    for share in (0.2, 0.6, 1.0):
        settings = SETTINGS.model_copy(update={"selector": "average", "max_cost": share})
        within = eligible(kept, settings, costs)
        members = choose(within, [within.every_row], settings, costs)[0]
        assert costs.share([one for one in kept.candidates if one.adapter_id in members]) <= share
    deep = kept.subset([place for place, one in enumerate(kept.candidates) if one.layer == 2])
    with pytest.raises(UsageError, match=r"--max-layer 1: no adapter is within it, the run has layers \[2\]"):
        eligible(deep, SETTINGS.model_copy(update={"max_layer": 1}), costs)


def test_multiply_adds_are_counted(make_store: MakeStore) -> None:
    kept, costs = noisy(num_adapters=3), Costs(open_store(make_store()))
    block = NUM_TOKENS * (4 * WIDTH**2 + 4 * WIDTH**2) + 2 * NUM_TOKENS**2 * WIDTH  # an MLP twice as wide
    for layer, one in zip(LAYERS, kept.candidates, strict=True):
        cost = costs.of([one], 10)
        assert cost.backbone_multiply_adds == layer * block
        assert cost.adapter_multiply_adds == WIDTH * NUM_CLASSES
        assert cost.deepest_layer == layer


def test_blocks_stay_whole() -> None:
    blocks = torch.tensor([3, 3, 1, 2, 2, 2, 7, 7, 1])
    for held in fold_masks(blocks, 3, seed=0):
        assert not set(blocks[held].tolist()) & set(blocks[~held].tolist())
    assert torch.stack(fold_masks(blocks, 3, seed=0)).sum(0).tolist() == [1] * len(blocks)
    for drawn in bootstraps(blocks, 20, seed=0):
        rest = out_of_bag(drawn, len(blocks))
        assert not set(blocks[drawn].tolist()) & set(blocks[rest].tolist())
        assert {*drawn.tolist(), *rest.tolist()} == set(range(len(blocks)))


@pytest.mark.parametrize("name", ["best", "bagged"])
def test_the_winner_of_many_that_know_nothing_is_seen_through(name: str, make_store: MakeStore) -> None:
    costs = Costs(open_store(make_store()))
    kept = noisy(num_adapters=40, num_rows=90, strength=0.0)
    settings = SETTINGS.model_copy(update={"selector": name})
    naive = kept.target.score(mixed(kept, choice(name, kept)), kept.labels).score
    draws = redrawn(kept, settings)
    found = out_of_bag_estimate(kept, settings, draws, choose(kept, draws, settings, costs), naive)
    assert found is not None
    assert naive > 0.4
    assert abs(found.score - 1 / NUM_CLASSES) < 0.06
    assert found.optimism == pytest.approx(naive - found.score)


def test_without_rows_to_spare_nothing_is_estimated() -> None:
    kept = noisy(num_rows=5)
    alone = kept_of(predictions_of(kept), kept.labels, groups=torch.zeros(5, dtype=torch.int64))
    assert redrawn(alone, SETTINGS) == []
    assert out_of_bag_estimate(alone, SETTINGS, [], [], 1.0) is None
