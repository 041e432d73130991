"""Several runs side by side: their figures in a table, and the best of each at every layer in one figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..show.wording import duration, percent, short
from .figures.svg import MARKERS, SERIES, Drawing, drawing
from .findings import Findings, LeaderboardRow


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs' names, a table of one value for each run in every line, and a figure of scores by layer."""

    names: list[str]
    lines: list[tuple[str, list[str]]]
    drawing: Drawing


def comparison(found: Sequence[Findings]) -> Comparison:
    """Compare runs in one table and one figure; runs of different data sets are not refused."""
    facts = [_facts(findings) for findings in found]
    lines = [(name, [each[name] for each in facts]) for name in facts[0]]

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        for place, findings in enumerate(found):
            best = _best(findings)
            style: dict[str, Any] = {"color": SERIES[place % len(SERIES)], "marker": MARKERS[place % len(MARKERS)]}
            name = f"{place + 1}  {findings.name}".replace("$", r"\$")  # no mathematics
            axes.plot(list(best), [100 * one.shown for one in best.values()], label=name, **style)
        axes.set_title("best of any family, %")
        axes.set_xlabel("deepest layer read")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7 if narrow else 13))
        figure.legend(loc="outside upper left", ncols=1 if narrow else 3)

    names = [findings.name for findings in found]
    return Comparison(names, lines, drawing(draw, (8.6, 4.2), (4.4, 4.4), "run 0 runs by layer"))


def _best(findings: Findings) -> dict[int, LeaderboardRow]:
    ordered = sorted(findings.standings, key=lambda one: one.validation)
    best = {one.layer: one for one in ordered}
    return dict(sorted(best.items()))


def _facts(findings: Findings) -> dict[str, str]:
    selection = findings.selection or {}
    cost: dict[str, Any] = selection.get("cost") or {}
    return {
        "backbone": findings.run["backbone"]["name"],
        "measure": findings.measure,
        "test": _figure(selection.get("test")),
        "validation": _figure(selection.get("validation")),
        "validation, unseen": percent((selection.get("honest") or {}).get("score")),
        "chosen by": selection.get("selector", "not since this training" if findings.is_stale else "not selected"),
        "members": str(len(findings.chosen) or "–"),
        "deepest layer": short(cost.get("deepest_layer")),
        "parameters": _count(cost.get("num_parameters")),
        "cost, % of the backbone": percent(cost.get("share")),
        "adapters trained": str(len(findings.trained)),
        "training": duration(findings.run["cost"]["elapsed_seconds"]),
    }


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}".replace(",", "\u202f")


def _figure(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "–"
    return f"{percent(figures['score'])} ({percent(figures['low'])}–{percent(figures['high'])})"
