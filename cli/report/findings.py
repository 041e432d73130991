"""The results in a run folder, read into plain values for the page. Knows no drawing."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icecore.store import SUM
from icecore.train.runs import best_first

if TYPE_CHECKING:
    from icecore.train import Chosen, Run

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trained:
    """One trained adapter: its configuration, and its metrics epoch by epoch."""

    adapter_id: str
    adapter: str
    layers: tuple[int, ...]
    config: dict[str, Any]
    seed: int
    status: str
    num_parameters: int
    train_loss: tuple[float | None, ...]
    validation_score: tuple[float | None, ...]
    validation_loss: tuple[float | None, ...]

    @property
    def score(self) -> float | None:
        """Validation score after the last epoch; None where the adapter diverged or was stopped before."""
        score = self.validation_score[-1] if self.status == "ok" else None
        return score if score is not None and math.isfinite(score) else None

    @property
    def rank(self) -> tuple[bool, float, float]:
        """The sort key of an adapter, the best first: finished adapters come before those that diverged or stopped."""
        score, loss = self.score, self.validation_loss[-1]
        return (True, 0.0, 0.0) if score is None else (False, *best_first(score, loss or 0.0))


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """The best adapter of one family on one set of layers; intervals and test scores exist after `select`."""

    adapter: str
    layers: tuple[int, ...]
    adapter_id: str
    num_parameters: int
    validation: float
    validation_interval: Interval | None
    test: float | None
    test_interval: Interval | None

    @property
    def layer(self) -> int:
        """The deepest layer that the adapter reads."""
        return max(self.layers)

    @property
    def shown(self) -> float:
        """The test score; the validation score where there is no test score."""
        return self.validation if self.test is None else self.test

    @property
    def interval(self) -> Interval | None:
        """The confidence interval of the score `shown`."""
        return self.validation_interval if self.test is None else self.test_interval


@dataclass(frozen=True, slots=True)
class Tested:
    """The prediction for one test row with a class."""

    row: int
    key: str
    label: int
    prediction: int
    probability: float


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows of one run; `chosen_from` is None before `icecore select`.

    `is_stale` is True where the selection is older than the last training; the page does not show such a selection.
    """

    path: Path
    opened: "Run"
    trained: tuple[Trained, ...]
    chosen_from: "Chosen | None"
    is_stale: bool

    @property
    def run(self) -> dict[str, Any]:
        """The content of run.json."""
        return self.opened.facts

    @property
    def selection(self) -> dict[str, Any] | None:
        """The content of selection.json; None before `icecore select`."""
        return self.chosen_from.content if self.chosen_from else None

    @property
    def sources(self) -> list[object]:
        """The checksums of the files that the page is made from."""
        return [self.opened.document.checksum, self.chosen_from and self.chosen_from.document.checksum, self.is_stale]

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.path.resolve().name

    @property
    def measure(self) -> str:
        """The name of the score: accuracy, or the target's own measure."""
        name = self.selection["score_name"] if self.selection else _score_name(self.run)
        return "accuracy" if name == "top1" else name.replace("_", " ")

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Adapter families, in the order of the settings that asked for them."""
        return tuple(dict.fromkeys(each.adapter for each in self.trained))

    @cached_property
    def standings(self) -> tuple[LeaderboardRow, ...]:
        """The best finished adapter of every family and layers: as `select` ranked them, else by validation score."""
        if self.selection:
            return tuple(_standing(row) for row in self.selection["table"])
        best: dict[tuple[str, tuple[int, ...]], Trained] = {}
        for each in sorted(self.trained, key=lambda each: each.rank, reverse=True):  # the best overwrites
            if each.score is not None:
                best[each.adapter, each.layers] = each
        return tuple(_unselected(best[key]) for key in sorted(best))

    def of(self, family: str) -> list[Trained]:
        """List the adapters of one family."""
        return [each for each in self.trained if each.adapter == family]

    def best(self, family: str) -> list[LeaderboardRow]:
        """List the best of a family at each deepest layer, ascending."""
        ordered = sorted((one for one in self.standings if one.adapter == family), key=lambda one: one.validation)
        return sorted({one.layer: one for one in ordered}.values(), key=lambda one: one.layer)

    def spans(self, family: str) -> bool:
        """Return whether all adapters of a family read the same several layers, and none a single layer."""
        spans = {each.layers for each in self.of(family)}
        return len(spans) == 1 and (len(span := next(iter(spans))) > 1 or span == (SUM,))

    def reach(self, layers: tuple[int, ...]) -> tuple[int, int]:
        """Return the first and the last of `layers`; for the sum of layers, of all layers that other adapters read."""
        known = {layer for one in self.standings for layer in one.layers} - {SUM}
        shown = known if SUM in layers and known else layers
        return min(shown), max(shown)

    @cached_property
    def leader(self) -> Trained:
        """The adapter of greatest weight in the selection; before `select`, the best by validation that finished."""
        by_id = {each.adapter_id: each for each in self.trained}
        if self.selection:
            return by_id[max(self.selection["selected"], key=lambda member: member["weight"])["adapter_id"]]
        return min(self.trained, key=lambda each: each.rank)

    @property
    def chosen(self) -> set[str]:
        """The adapters that the selection uses; none before `select`."""
        return {member["adapter_id"] for member in self.selection["selected"]} if self.selection else set()

    @cached_property
    def tested(self) -> tuple[Tested, ...]:
        """The predictions for test rows with a class; empty for multilabel and regression targets."""
        rows: list[dict[str, Any]] = self.chosen_from.tested().to_pylist() if self.chosen_from else []
        return tuple(Tested(**row) for row in rows if "probability" in row and row["label"] >= 0)


def read_findings(run: Path) -> Findings:
    """Read a run folder.

    Raises:
        UsageError: the folder is not a run.
        IcecoreError: a file was changed since it was written, or no adapter finished its training.
    """
    from icecore.train import open_run, read_chosen

    opened, chosen = open_run(str(run)), read_chosen(str(run))
    opened.require_finished()
    is_current = chosen is not None and chosen.is_of(opened)
    trained = _by_adapter(opened.results.to_pylist())
    return Findings(run, opened, trained, chosen if is_current else None, chosen is not None and not is_current)


def _by_adapter(rows: Iterable[dict[str, Any]]) -> tuple[Trained, ...]:
    epochs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        epochs[row["adapter_id"]].append(row)
    return tuple(_trained(sorted(rows, key=lambda row: row["epoch"])) for rows in epochs.values())


def _trained(rows: list[dict[str, Any]]) -> Trained:
    last = rows[-1]
    return Trained(
        adapter_id=last["adapter_id"],
        adapter=last["adapter"],
        layers=tuple(last["layers"]),
        config=json.loads(last["config"]) | {"lr": last["lr"], "weight_decay": last["weight_decay"]},
        seed=last["seed"],
        status=last["status"],
        num_parameters=last["num_parameters"],
        train_loss=tuple(row["train_loss"] for row in rows),
        validation_score=tuple(row["validation_score"] for row in rows),
        validation_loss=tuple(row["validation_loss"] for row in rows),
    )


def _standing(row: dict[str, Any]) -> LeaderboardRow:
    test = row["test_score"]
    return LeaderboardRow(
        adapter=row["adapter"],
        layers=tuple(row["layers"]),
        adapter_id=row["adapter_id"],
        num_parameters=row["num_parameters"],
        validation=row["validation_score"],
        validation_interval=(row["validation_low"], row["validation_high"]),
        test=test,
        test_interval=None if test is None else (row["test_low"], row["test_high"]),
    )


def _unselected(each: Trained) -> LeaderboardRow:
    score = each.score
    assert score is not None  # who did not finish has no standing
    return LeaderboardRow(each.adapter, each.layers, each.adapter_id, each.num_parameters, score, None, None, None)


def _score_name(run: dict[str, Any]) -> str:
    from icecore.train.targets import get_target

    return get_target(run["target"]["name"]).score_name
