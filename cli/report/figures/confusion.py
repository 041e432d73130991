"""The confusion matrix of the test rows as a figure, and the most confused pairs of classes."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ..findings import Findings
from .svg import Drawing, drawing

NAMED = 20  # the most classes whose names fit beside the matrix
NUM_PAIRS = 12
TINT = (0.12, 0.52, 0.68)


@dataclass(frozen=True, slots=True)
class Pair:
    """The `count` test rows of class `label`, out of `num_rows`, that were predicted as `prediction`."""

    label: str
    prediction: str
    count: int
    num_rows: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """The confusion matrix, and the pairs of classes with the most confused rows."""

    drawing: Drawing
    pairs: list[Pair]


def confusion(findings: Findings, prefix: str) -> Confusion | str:
    """Count test rows by true and predicted class; or return a sentence why not."""
    if not findings.tested:
        return "Nothing to show: icecore select has not measured test rows of one class each."
    classes: list[str] = findings.run["classes"]
    counts = Counter((one.label, one.prediction) for one in findings.tested)
    sizes = Counter(one.label for one in findings.tested)
    wrong = sorted((pair for pair in counts if pair[0] != pair[1]), key=lambda pair: (-counts[pair], pair))
    pairs = [Pair(classes[k], classes[j], counts[k, j], sizes[k]) for k, j in wrong[:NUM_PAIRS]]
    picture = np.zeros((len(classes), len(classes), 4), np.float32)
    picture[..., :3] = TINT
    for (label, prediction), count in counts.items():
        picture[label, prediction, 3] = 0.12 + 0.88 * count / sizes[label]

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        axes.imshow(picture, interpolation="nearest")
        axes.grid(False)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator(range(len(classes))) if len(classes) <= NAMED else NullLocator())
        if len(classes) <= NAMED:
            axes.set_xticklabels([_short(name) for name in classes], rotation=90)
            axes.set_yticklabels([_short(name) for name in classes])

    return Confusion(drawing(draw, (6.2, 5.4), (4.4, 4.4), f"{prefix} confusion matrix"), pairs)


def _short(name: str) -> str:
    return (name if len(name) <= 14 else f"{name[:13]}…").replace("$", r"\$")  # no mathematics
