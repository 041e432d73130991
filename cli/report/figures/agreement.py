"""The figure of training-free layer scores against trained accuracy, with Kendall's tau."""

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from scipy.stats import kendalltau

from icecore.store import IcecoreError, Store
from icecore.train import ScoreSettings, score

from ..findings import Findings
from .svg import Drawing, drawing, style_of

CHEAP_BYTES = 4_000_000_000  # a larger store is not read just for this figure


@dataclass(frozen=True, slots=True)
class Agreement:
    """The figure, and Kendall's tau of each family."""

    drawing: Drawing
    tau: dict[str, float]


def agreement(findings: Findings, store: Store | None, prefix: str) -> Agreement | str:
    """Score the layers of the run's store and compare with trained accuracy; or return a sentence why not."""
    families = [name for name in findings.families if not findings.spans(name) and len(findings.best(name)) > 2]
    if not families:
        return "No family was trained at three layers or more, one by one."
    if store is None:
        return "The store was not there when this page was made."
    if store.num_bytes() > CHEAP_BYTES:
        return f"The store is too large to be scored for a page: icecore score {store.url}"
    try:
        scores = {one.layer: one.score for one in score(store.url, ScoreSettings())}
    except IcecoreError as error:
        return f"The layers cannot be scored: {error}"
    points = {name: [(scores[one.layer], one.shown) for one in findings.best(name)] for name in families}
    tau = {name: _tau(some) for name, some in points.items()}

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        for name, some in points.items():
            style: dict[str, Any] = style_of(findings.families, name) | {"linestyle": "none", "label": name}
            axes.plot([x for x, _ in some], [100 * y for _, y in some], **style)
            layers = {point: one.layer for one, point in zip(findings.best(name), some, strict=True)}
            for x, y in {some[0], max(some), max(some, key=lambda point: point[1])}:  # more would overlap
                offset: dict[str, Any] = {"xytext": (6, 4), "textcoords": "offset points", "fontsize": 10}
                axes.annotate(f"{layers[x, y]}", (x, 100 * y), color=style["color"], **offset)
        axes.set_title(f"{findings.measure}, %")
        axes.set_xlabel("ridge score, without training")
        axes.margins(0.06)
        figure.legend(loc="outside upper left", ncols=3 if narrow else 6)

    return Agreement(drawing(draw, (8.6, 3.9), (4.4, 4.0), f"{prefix} score against accuracy"), tau)


def _tau(points: list[tuple[float, float]]) -> float:
    found: Any = kendalltau([x for x, _ in points], [y for _, y in points])
    return float(found.statistic)
