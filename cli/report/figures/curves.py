"""The figure of learning curves: loss and validation score by epoch."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..findings import Findings, Trained
from .svg import MUTED, Drawing, drawing, style_of


def learning_curves(findings: Findings, prefix: str) -> Drawing:
    """Draw the best adapter of each family and layers in grey, the leading adapter in its family's colour."""
    shown = {one.adapter_id for one in findings.standings}

    def draw(figure: Figure, narrow: bool) -> None:
        loss, score = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
        for each in findings.trained:
            if each.adapter_id in shown and each is not findings.leader:
                _draw_curves(loss, score, each, {"color": MUTED, "linewidth": 0.8, "alpha": 0.45})
        colour = style_of(findings.families, findings.leader.adapter)["color"]
        _draw_curves(loss, score, findings.leader, {"color": colour, "linewidth": 2.4, "zorder": 5})
        for axes, title in ((loss, "training loss"), (score, f"validation {findings.measure}, %")):
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))

    return drawing(draw, (8.6, 3.3), (4.4, 6.6), f"{prefix} learning curves")


def _draw_curves(loss: Axes, score: Axes, each: Trained, style: dict[str, Any]) -> None:
    epochs = range(1, len(each.train_loss) + 1)
    style = style if len(epochs) > 1 else style | {"marker": "o"}  # what is solved at once has no curve
    loss.plot(epochs, [_number(value) for value in each.train_loss], **style)
    score.plot(epochs, [100 * _number(value) for value in each.validation_score], **style)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
