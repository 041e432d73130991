"""Curves as a table for programs and a figure for people."""

import io
import json
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from icecore.store import write_atomic

from .curve import REACHED, Curve


def write_curves(out: str, curves: Sequence[Curve]) -> None:
    """Write intrinsic_dimension.json and .svg into a folder."""
    text = json.dumps([curve.model_dump(mode="json") for curve in curves], indent=2)
    write_atomic(f"{out}/intrinsic_dimension.json", text.encode())
    figure, drawn = Figure(figsize=(7, 4), layout="constrained"), io.BytesIO()
    axes = figure.subplots()
    for curve in curves:
        _draw(axes, curve)
    axes.axhline(curves[0].floor, color="grey", linewidth=1, label="the classifier alone")
    axes.set_xscale("log")
    axes.set_xticks(curves[0].dimensions, list(map(str, curves[0].dimensions)))
    axes.minorticks_off()
    axes.set(xlabel="dimension of the subspace", ylabel="validation score")
    axes.set_title(
        f"dotted: {REACHED:.0%} of training the submodule in full; vertical: d90", fontsize="small", loc="left"
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    write_atomic(f"{out}/intrinsic_dimension.svg", drawn.getvalue())


def _draw(axes: Any, curve: Curve) -> None:
    reached = "no d90" if curve.d90 is None else f"d90 {curve.d90:.0f}"
    (line,) = axes.plot(curve.dimensions, curve.scores, marker="o", label=f"{curve.module}, {reached}")
    wanted, style = REACHED * curve.reference, {"color": line.get_color(), "linestyle": ":", "linewidth": 1}
    axes.axhline(wanted, **style)
    if curve.d90 is not None:
        axes.plot([curve.d90, curve.d90], [curve.floor, wanted], **style)
