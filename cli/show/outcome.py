"""A selection as words, table and JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .wording import configuration, layers_in_words, percent

SPLITS = ("test", "validation")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The content of RUN/selection.json."""

    selection: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the keys of `--json`, which other programs may rely on."""
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
        """How often the test split was read, over all selections from the run."""
        return self.selection["num_test_reads"]

    @property
    def families(self) -> list[str]:
        """The adapter families of the table, in its order."""
        return list(dict.fromkeys(row["adapter"] for row in self.selection["table"]))

    @property
    def measure(self) -> str:
        """The split and the name of the scores in the table: test, or validation where there are no test rows."""
        name = self.selection["score_name"].replace("_", " ")
        return f"{SPLITS[not self._is_tested].capitalize()} {'accuracy' if name == 'top1' else name}"

    @property
    def _is_tested(self) -> bool:
        return self.selection["test"] is not None

    def _score(self, row: dict[str, Any]) -> float | None:
        return row["test_score" if self._is_tested else "validation_score"]

    @property
    def _spans(self) -> dict[tuple[int, ...], dict[str, dict[str, Any]]]:
        """The table's rows by layers read and family: single layers first, what reads several below."""
        found: dict[tuple[int, ...], dict[str, dict[str, Any]]] = {}
        for row in sorted(
            self.selection["table"], key=lambda row: (len(row["layers"]) > 1, row["layer"], row["layers"])
        ):
            found.setdefault(tuple(row["layers"]), {})[row["adapter"]] = row
        return found

    def table(self) -> tuple[list[list[str]], int | None]:
        """Return scores in per cent by layers and family, and the line of the selected adapter of largest weight."""
        chosen = {(tuple(member["layers"]), member["adapter"]) for member in self.selected}
        rows = [[layers_in_words(span)] for span in self._spans]
        for line, (span, cells) in zip(rows, self._spans.items(), strict=True):
            line += [self._cell(cells.get(name), (span, name) in chosen) for name in self.families]
        leader = tuple(max(self.selected, key=lambda member: member["weight"])["layers"])
        return rows, list(self._spans).index(leader) if leader in self._spans else None

    def _cell(self, row: dict[str, Any] | None, is_chosen: bool) -> str:
        return "–" if row is None else ("*" if is_chosen else "") + percent(self._score(row))

    def accuracies(self) -> list[tuple[str, list[float | None]]]:
        """Return scores from 0 to 1 by layers, one for each family; None where nothing was trained."""
        cells = [(span, [row.get(name) for name in self.families]) for span, row in self._spans.items()]
        return [(layers_in_words(span), [self._score(row) if row else None for row in rows]) for span, rows in cells]

    def facts(self) -> list[tuple[str, str]]:
        """Return the selected adapters, their scores and their costs, as (name, value)."""
        members = [("selected", _member(member)) for member in self.selected]
        figures = [(split, _accuracy(self.selection[split])) for split in SPLITS]
        return [*members, *figures, ("unseen", _unseen(self.selection["honest"])), ("cost", _cost(self.selection))]


def read_outcome(run: Path) -> Outcome:
    """Read the selection of a run. Raises UsageError where there is none, IcecoreError where it was changed."""
    from icecore.store import UsageError
    from icecore.train import read_chosen

    chosen = read_chosen(str(run))
    if chosen is None:
        raise UsageError(f"{run}: nothing is selected yet; run icecore select {run} first")
    return Outcome(chosen.content)


def _member(member: dict[str, Any]) -> str:
    weight = "" if member["weight"] == 1 else f", weight {member['weight']:.2f}"
    where = f"layer{'s' if len(member['layers']) > 1 else ''} {layers_in_words(member['layers'])}"
    return f"{member['adapter']} at {where}{weight}  ({configuration(member['config'])})"


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
