"""The figure of accuracy against cost: depth, trained parameters, and bytes of cached tokens."""

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from icecore.store import Store

from ..findings import Findings
from .svg import INK, Drawing, drawing, style_of


def tradeoff(findings: Findings, store: Store | None, prefix: str) -> Drawing:
    """Draw a point for the best adapter of each family and layers, and a star for the selection."""
    panels: list[tuple[str, bool, Callable[[tuple[int, ...], int], float]]] = [
        ("deepest layer read", False, lambda layers, _: findings.reach(layers)[1]),
        ("trained parameters", True, lambda _, num_parameters: num_parameters),
    ]
    if store is not None:
        total = store.num_bytes() / 1e6
        panels.append(("cached for it, MB", False, lambda layers, _: total * share_of(store, layers)))

    def draw(figure: Figure, narrow: bool) -> None:
        shape = (len(panels), 1) if narrow else (1, len(panels))
        for axes, (name, is_log, cost) in zip(figure.subplots(*shape).flat, panels, strict=True):
            _draw_panel(axes, findings, cost)
            axes.set_xlabel(name)
            if is_log:
                axes.set_xscale("log")
            else:
                axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            axes.margins(0.08)
            axes.set_title(f"{findings.measure}, %")
        handles = figure.axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper left", ncols=3 if narrow else 6)

    return drawing(draw, (8.6, 3.5), (4.4, 2.8 * len(panels) + 0.4), f"{prefix} accuracy against cost")


def share_of(store: Store, layers: tuple[int, ...]) -> float:
    """Return the share of a store's token values that belong to `layers`."""
    sizes = {layer: spec.num_tokens * spec.width for layer, spec in store.spec.layers.items()}
    return sum(sizes[layer] for layer in layers) / sum(sizes.values())


def _draw_panel(axes: Axes, findings: Findings, cost: Callable[[tuple[int, ...], int], float]) -> None:
    for family in findings.families:
        some = [one for one in findings.standings if one.adapter == family]
        style: dict[str, Any] = style_of(findings.families, family) | {"linestyle": "none", "label": family}
        axes.plot([cost(one.layers, one.num_parameters) for one in some], [100 * one.shown for one in some], **style)
    selection = findings.selection
    if selection:
        layers = tuple(sorted({layer for member in selection["selected"] for layer in member["layers"]}))
        figures = selection["test"] or selection["validation"]
        x = cost(layers, selection["cost"]["num_parameters"])
        star: dict[str, Any] = {"marker": "*", "markersize": 12, "linestyle": "none", "color": INK}
        axes.plot([x], [100 * figures["score"]], label="selected", zorder=5, **star)
