"""The page's figures as inline SVG, in colours that the style sheet decides; knows nothing of the rest of the page."""

import io
import re
from collections.abc import Callable
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .findings import Findings, Trained

# Colours that occur nowhere else in a figure: each becomes a CSS variable, so one drawing serves light, dark and print.
ACCENT, INK, MUTED, LINE = "#010203", "#020301", "#030102", "#030201"
VARIABLES = {ACCENT: "var(--accent)", INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"}
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": MUTED,
    "axes.titlepad": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.solid_capstyle": "round",
    "lines.linewidth": 2,
    "lines.markersize": 5,
}
MARKERS = "osD^vPX*"


def accuracy_by_layer(findings: Findings, narrow: bool) -> str:
    """Draw accuracy against layer: test in full lines (validation before `select`), validation in thin dashed ones."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        leader = leading_family(findings)
        for place, family in enumerate(findings.families):
            _draw_family(
                axes, findings, family, ACCENT if family == leader else (INK, MUTED)[place % 2], MARKERS[place % 8]
            )
        axes.set_title("accuracy, %")
        axes.set_xlabel("layer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7 if narrow else 13))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.margins(x=0.03, y=0.08)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 101))
        figure.legend(loc="outside upper left", ncols=2 if narrow else 4, labelcolor=INK)

    return _svg(draw, (4.4, 3.9) if narrow else (8.6, 4.1), f"accuracy-{narrow}")


def learning_curves(findings: Findings, narrow: bool) -> str:
    """Draw loss and validation accuracy by epoch: the best of each family and layer, the leading one in colour."""

    def draw(figure: Figure) -> None:
        loss, accuracy = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
        leader = leading_adapter(findings)
        for family in findings.families:
            for each in findings.best(family).values():
                if each is not leader:
                    _draw_curves(loss, accuracy, each, {"color": MUTED, "linewidth": 0.8, "alpha": 0.45})
        _draw_curves(loss, accuracy, leader, {"color": ACCENT, "linewidth": 2.4, "zorder": 5})
        for axes, title in ((loss, "training loss"), (accuracy, "validation accuracy, %")):
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))

    return _svg(draw, (4.4, 6.6) if narrow else (8.6, 3.3), f"curves-{narrow}")


def leading_adapter(findings: Findings) -> Trained:
    """The adapter of greatest weight in the selection; before `select`, the best by validation."""
    by_id = {each.adapter_id: each for each in findings.trained}
    if findings.selection and findings.selection["selected"]:
        return by_id[max(findings.selection["selected"], key=lambda member: member["weight"])["adapter_id"]]
    return max(findings.trained, key=lambda each: each.top1)


def leading_family(findings: Findings) -> str:
    """The family of the leading adapter."""
    return leading_adapter(findings).adapter


def _draw_family(axes: Axes, findings: Findings, family: str, colour: str, marker: str) -> None:
    validation = {layer: 100 * each.top1 for layer, each in findings.best(family).items()}
    test = {layer: 100 * top1 for layer, top1 in findings.test_score(family).items()}
    style: dict[str, Any] = {"color": colour, "marker": marker}
    if test:
        axes.plot(list(test), list(test.values()), label=f"{family}, test", **style)
        style |= {"linewidth": 1, "linestyle": (0, (4, 3)), "markersize": 3, "markerfacecolor": "none"}
    axes.plot(list(validation), list(validation.values()), label=f"{family}, validation", **style)


def _draw_curves(loss: Axes, accuracy: Axes, each: Trained, style: dict[str, Any]) -> None:
    epochs = range(1, len(each.train_loss) + 1)
    loss.plot(epochs, [_number(value) for value in each.train_loss], **style)
    accuracy.plot(epochs, [100 * _number(value) for value in each.validation_score], **style)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _svg(draw: Callable[[Figure], None], inches: tuple[float, float], salt: str) -> str:
    """Draw a figure and return its `<svg>` element; `salt` keeps the identifiers of several figures on a page apart."""
    buffer = io.StringIO()
    with rc_context(STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return _inline(text, salt)


def _inline(text: str, salt: str) -> str:
    """Keep of an SVG file what a page needs: no prologue, no metadata, no fixed size, identifiers of its own."""
    box = re.search(r'viewBox="[^"]+"', text)
    body = text[text.index("</metadata>") + len("</metadata>") :].replace("xlink:href", "href")
    body = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{salt}-", body)
    return f'<svg {box[0] if box else ""} role="img">{body}'
