"""The figure of accuracy by layer: a curve with intervals for each family; a family that reads all layers is level."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..findings import Findings, LeaderboardRow
from .svg import Drawing, drawing, style_of


def accuracy_by_layer(findings: Findings, prefix: str) -> Drawing:
    """Draw test scores in full lines with intervals (validation before `select`), validation in thin dashed ones."""

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        for family in findings.families:
            _draw_family(axes, findings, family)
        axes.set_title(f"{findings.measure}, %, of the {_split(findings)} split; dashed: validation")
        axes.set_xlabel("layer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7 if narrow else 13))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.margins(x=0.03, y=0.08)
        low, high = axes.get_ylim()
        is_share = all(one.shown >= 0 and one.validation >= 0 for one in findings.standings)  # r2 may be below
        axes.set_ylim(max(low, 0) if is_share else low, min(high, 101))
        figure.legend(loc="outside upper left", ncols=3 if narrow else 6)

    return drawing(draw, (8.6, 4.2), (4.4, 4.2), f"{prefix} accuracy by layer")


def _split(findings: Findings) -> str:
    return "test" if findings.selection and findings.selection["test"] else "validation"


def _draw_family(axes: Axes, findings: Findings, family: str) -> None:
    style, best = style_of(findings.families, family), findings.best(family)
    if not best:
        return
    if findings.spans(family):
        ends = findings.reach(best[-1].layers)
        _draw_across(axes, ends, best[-1], {"color": style["color"], "label": family})
        return
    layers = [one.layer for one in best]
    axes.plot(layers, [100 * one.shown for one in best], label=family, **style)
    if all(one.interval for one in best):
        lows, highs = zip(*[one.interval or (0.0, 0.0) for one in best], strict=True)
        band = ([100 * low for low in lows], [100 * high for high in highs])
        axes.fill_between(layers, *band, color=style["color"], alpha=0.13, linewidth=0)
    if best[0].test is not None:
        thin: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 3)), "alpha": 0.8}
        axes.plot(layers, [100 * one.validation for one in best], color=style["color"], **thin)


def _draw_across(axes: Axes, ends: tuple[int, int], one: LeaderboardRow, style: dict[str, Any]) -> None:
    """Draw a family that reads all its layers together as a horizontal line."""
    axes.plot(ends, [100 * one.shown] * 2, **style)
    if one.interval:
        low, high = one.interval
        axes.fill_between(ends, 100 * low, 100 * high, color=style["color"], alpha=0.13, linewidth=0)
    if one.test is not None:
        thin: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 3)), "alpha": 0.8}
        axes.plot(ends, [100 * one.validation] * 2, color=style["color"], **thin)
