"""What a selection says, in words and as JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .wording import configuration, percent

SPLITS = ("test", "validation")


@dataclass(frozen=True, slots=True)
class Outcome:
    """RUN/selection.json, as `select` wrote it."""

    selection: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the keys that other programs may rely on."""
        members = [{key: member[key] for key in ("adapter", "layer", "config", "weight")} for member in self.selected]
        figures = {name: self._named(name) for name in (*SPLITS, "honest")}
        more = {key: self.selection[key] for key in ("selector", "test_optimism", "cost", "num_test_reads")}
        return {"selected": members, **figures, **more}

    def _named(self, name: str) -> dict[str, Any] | None:
        """Return some figures, score and loss by their own names."""
        names = {"score": self.selection["score_name"], "loss": self.selection["loss_name"]}
        figures = self.selection[name]
        return None if figures is None else {names.get(key, key): value for key, value in figures.items()}

    @property
    def selected(self) -> list[dict[str, Any]]:
        """The chosen adapters with their weights."""
        return self.selection["selected"]

    @property
    def num_test_reads(self) -> int:
        """How often the test split was read, of all selections ever made from the run."""
        return self.selection["num_test_reads"]

    @property
    def families(self) -> list[str]:
        """The adapter families of the table, in its order."""
        return list(dict.fromkeys(row["adapter"] for row in self.selection["table"]))

    def table(self) -> tuple[list[list[str]], int | None]:
        """Return test accuracy in per cent as layer by family, and which line has the (heaviest) selected adapter."""
        test = {(row["layer"], row["adapter"]): row for row in self.selection["table"]}
        chosen = {(member["layer"], member["adapter"]) for member in self.selected}
        layers = sorted({layer for layer, _ in test})
        rows = [[str(k), *(_cell(test.get((k, name)), (k, name) in chosen) for name in self.families)] for k in layers]
        leader = max(self.selected, key=lambda member: member["weight"])["layer"]
        return rows, layers.index(leader) if leader in layers else None

    def accuracies(self) -> list[tuple[str, list[float | None]]]:
        """Return test accuracy from 0 to 1, layer by family."""
        test = {(row["layer"], row["adapter"]): row["test_score"] for row in self.selection["table"]}
        layers = sorted({layer for layer, _ in test})
        return [(str(layer), [test.get((layer, family)) for family in self.families]) for layer in layers]

    def facts(self) -> list[tuple[str, str]]:
        """Return what was selected, how well it does and what it costs, as name and value."""
        members = [("selected", _member(member)) for member in self.selected]
        figures = [(split, _accuracy(self.selection[split])) for split in SPLITS]
        return [*members, *figures, ("unseen", _unseen(self.selection["honest"])), ("cost", _cost(self.selection))]


def read_outcome(run: Path) -> Outcome:
    """Read the selection of a run that has one."""
    return Outcome(json.loads((run / "selection.json").read_text()))


def _cell(row: dict[str, Any] | None, is_chosen: bool) -> str:
    return "–" if row is None else ("*" if is_chosen else "") + percent(row["test_score"])


def _member(member: dict[str, Any]) -> str:
    weight = "" if member["weight"] == 1 else f", weight {member['weight']:.2f}"
    return f"{member['adapter']} at layer {member['layer']}{weight}  ({configuration(member['config'])})"


def _accuracy(split: dict[str, Any] | None) -> str:
    if split is None:
        return "no labelled rows"
    groups = f" in {split['num_groups']} groups" if split["num_groups"] is not None else ""
    interval = f"{percent(split['low'])} to {percent(split['high'])}"
    return f"{percent(split['score'])} %  ({interval}, {split['num_rows']} rows{groups})"


def _unseen(honest: dict[str, Any] | None) -> str:
    """Say what the choice is worth on validation rows that it did not see."""
    if honest is None:
        return "not known: too few validation rows"
    choices = f"{honest['num_choices']} choices made again, on rows that they did not see"
    return f"{percent(honest['score'])} %  ({choices}; validation flatters by {percent(honest['optimism'])})"


def _cost(selection: dict[str, Any]) -> str:
    cost = selection["cost"]
    parts = [f"layer {cost['deepest_layer']}" + (f" of {cost['num_blocks']}" if cost["num_blocks"] else "")]
    parts.append(f"{cost['num_parameters']:,} parameters")
    if cost["share"] is not None:
        total = cost["backbone_multiply_adds"] + cost["adapter_multiply_adds"]
        parts.append(f"{total / 1e6:.0f} M multiply-adds an image, {percent(cost['share'])} % of the whole backbone")
    return ", ".join(parts)
