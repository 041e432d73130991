"""The numbers of the page arranged as tables; knows nothing of HTML."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..show.wording import layers_in_words, percent, short
from .findings import Findings, Trained

Span = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One accuracy of a sweep: its text, how strongly it is tinted (0 to 45 per cent), whether it was selected."""

    text: str
    heat: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """One family as layers by configuration: a header line for each key that varies, a row for each span of layers."""

    family: str
    headers: list[dict[str, Any]]
    rows: list[dict[str, Any]]


def sweep(findings: Findings, family: str) -> Sweep:
    """Arrange a family's validation scores as layers by configuration, the mean over seeds."""
    groups: dict[tuple[tuple[str, Any], ...], dict[Span, list[Trained]]] = defaultdict(lambda: defaultdict(list))
    for each in findings.of(family):
        groups[tuple((key, short(value)) for key, value in each.config.items())][each.layers].append(each)
    configs = list(groups)
    means = {config: {span: _mean(some) for span, some in spans.items()} for config, spans in groups.items()}
    known = [score for spans in means.values() for score in spans.values() if score is not None]
    rows = [
        {
            "layers": layers_in_words(span),
            "cells": [
                _cell(means[config].get(span), known, groups[config].get(span, []), findings.chosen)
                for config in configs
            ],
        }
        for span in sorted({each.layers for each in findings.of(family)}, key=lambda span: (max(span), span))
    ]
    return Sweep(family, _headers(configs), rows)


def by_layer(findings: Findings) -> list[dict[str, Any]]:
    """Arrange the best adapters as layers by family, validation and test; an adapter of several layers names them."""
    standings = {(one.adapter, one.layers): one for one in findings.standings}
    chosen = {(each.adapter, each.layers) for each in findings.trained if each.adapter_id in findings.chosen}

    def cell(family: str, span: Span) -> dict[str, Any]:
        one = standings.get((family, span))
        return {
            "validation": percent(one.validation if one else None),
            "test": percent(one.test if one else None),
            "there": one is not None,
            "chosen": (family, span) in chosen,
        }

    spans = sorted({one.layers for one in findings.standings}, key=lambda span: (len(span) > 1, max(span), span))
    return [
        {"layers": layers_in_words(span), "cells": [cell(name, span) for name in findings.families]} for span in spans
    ]


def members(findings: Findings) -> list[dict[str, Any]]:
    """List the selected adapters by falling weight, each with the settings that vary within its family."""
    by_id = {each.adapter_id: each for each in findings.trained}
    chosen = [(by_id[one["adapter_id"]], one["weight"]) for one in findings.selection["selected"]]  # pyright: ignore

    def told_apart(each: Trained) -> dict[str, Any]:
        others = [one.config | {"seed": one.seed} for one in findings.of(each.adapter)]
        mine = each.config | {"seed": each.seed}
        return {key: value for key, value in mine.items() if any(other.get(key) != value for other in others)}

    return [{"adapter": each, "weight": weight, "told_apart": told_apart(each)} for each, weight in chosen]


def _mean(some: list[Trained]) -> float | None:
    """Return the mean score; None if any of the adapters did not finish."""
    scores = [each.score for each in some if each.score is not None]
    return fmean(scores) if len(scores) == len(some) else None


def _cell(score: float | None, known: list[float], some: list[Trained], chosen: set[str]) -> Cell:
    """Return the cell of a score; for an adapter that did not finish, a word says why."""
    if score is None:
        ended = [each.status.partition(" ")[0] for each in some if each.score is None]  # diverged, stopped
        return Cell(ended[0] if ended else "–", 0, any(each.adapter_id in chosen for each in some))
    low, high = min(known), max(known)
    heat = round(45 * (score - low) / (high - low)) if high > low else 0
    return Cell(percent(score), heat, any(each.adapter_id in chosen for each in some))


def _headers(configs: list[tuple[tuple[str, Any], ...]]) -> list[dict[str, Any]]:
    columns = [dict(config) for config in configs]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    varying = [key for key in keys if len({column.get(key) for column in columns}) > 1] or ["configuration"]
    return [{"name": key.replace("_", " "), "columns": [column.get(key, "") for column in columns]} for key in varying]
