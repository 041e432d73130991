"""In-backbone methods beside cached adapters, from comparison.json: scores and costs of each."""

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..show.wording import duration, percent, size
from .figures.svg import MARKERS, SERIES, Drawing, drawing

Row = dict[str, Any]
COSTS: dict[str, tuple[str, float, str]] = {  # key of a row: its panel's name, what a number is divided by, the scale
    "num_parameters": ("trained parameters", 1.0, "log"),
    "seconds": ("training seconds", 1.0, "linear"),
    "peak_bytes": ("peak memory, GB", 1e9, "linear"),
    "multiply_adds": ("multiply-adds, G", 1e9, "linear"),
}
HEADERS = ("method", "validation", "test", "95 %", "parameters", "training", "search", "memory", "multiply-adds")


@dataclass(frozen=True, slots=True)
class Methods:
    """The values of methods.html: a sentence, a table with the index of its best row by validation, and a figure."""

    name: str
    headline: str
    note: str
    headers: tuple[str, ...]
    rows: list[list[str]]
    best: int
    drawing: Drawing


def methods(folder: str, found: dict[str, Any], name: str) -> Methods:
    """Return the values of one comparison; `name` is unique on the page and prefixes the figure's identifiers."""
    rows: list[Row] = found["rows"]
    best = max(range(len(rows)), key=lambda place: _score(rows[place], "validation"))
    measure = "accuracy" if found["score_name"] == "top1" else found["score_name"].replace("_", " ")
    return Methods(
        name=folder,
        headline=f"{rows[best]['name']} is best on validation" if rows[best]["validation"] else "none finished",
        note=f"{measure.capitalize()} in per cent; {found['source']}, {found['num_train_rows']} train rows, validation "
        f"is {found['how']}; {found['backbone']} in {found['compute_dtype']} on {found['device']}. Training is of the "
        "learning rate chosen, search of all that were tried; of cached adapters without the extraction.",
        headers=HEADERS,
        rows=[_cells(row) for row in rows],
        best=best,
        drawing=_drawing(rows, measure, name),
    )


def _score(row: Row, split: str) -> float:
    return row[split]["score"] if row[split] else float("-inf")


def _cells(row: Row) -> list[str]:
    validation, test = row["validation"] or {}, row["test"]
    status = "" if row["status"] == "ok" else f" ({row['status']})"
    return [
        f"{row['name']}{status}",
        percent(validation.get("score")),
        percent(test and test["score"]),
        f"{percent(test['low'])}–{percent(test['high'])}" if test else "–",
        f"{row['num_parameters']:,}".replace(",", "\u202f"),
        *("–" if row[key] is None else duration(row[key]) for key in ("seconds", "search_seconds")),
        "–" if row["peak_bytes"] is None else size(row["peak_bytes"]),
        "–" if row["multiply_adds"] is None else f"{row['multiply_adds'] / 1e9:.2f} G",
    ]


def _drawing(rows: list[Row], measure: str, name: str) -> Drawing:
    split = "test" if all(row["test"] for row in rows if row["status"] == "ok") else "validation"
    shown = [row for row in rows if row[split]]
    panels = {key: panel for key, panel in COSTS.items() if any(row[key] for row in shown)}

    def draw(figure: Figure, narrow: bool) -> None:
        every = figure.subplots(len(panels) if narrow else 1, 1 if narrow else len(panels), squeeze=False, sharey=True)
        for axes, (key, (title, unit, scale)) in zip(every.flat, panels.items(), strict=True):
            _draw_panel(axes, shown, split, key, unit)
            axes.set(xlabel=title, xscale=scale)
            axes.margins(0.1)
            if scale == "linear":
                axes.xaxis.set_major_locator(MaxNLocator(nbins=3))
        every.flat[0].set_title(f"{measure} on {split}, %")
        handles = every.flat[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper left", ncols=2 if narrow else 5)

    return drawing(draw, (8.6, 4.0), (4.4, 2.6 * len(panels) + 1.4), f"{name} accuracy against cost")


def _draw_panel(axes: Axes, rows: list[Row], split: str, key: str, unit: float) -> None:
    """Draw a point a row: cached adapters filled, in-backbone methods hollow."""
    for place, row in enumerate(rows):
        style: dict[str, Any] = {"color": SERIES[place % 6], "marker": MARKERS[place % len(MARKERS)], "markersize": 7}
        if row["kind"] != "cached":
            style["markerfacecolor"] = "none"
        x = [] if row[key] is None else [row[key] / unit]
        axes.plot(x, [100 * row[split]["score"]] * len(x), linestyle="none", label=row["name"], **style)
