"""The numbers of the page arranged as tables; knows nothing of HTML."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..wording import percent, short
from .findings import Findings, Trained


@dataclass(frozen=True, slots=True)
class Cell:
    """One accuracy of a sweep: its text, how strongly it is tinted (0 to 45 per cent), whether it was selected."""

    text: str
    heat: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """One family as layer by configuration: a header line for each key that varies, a row for each layer."""

    family: str
    headers: list[dict[str, Any]]
    rows: list[dict[str, Any]]


def sweep(findings: Findings, family: str) -> Sweep:
    """Arrange a family's validation accuracies as layer by configuration, the mean over seeds."""
    groups: dict[tuple[tuple[str, Any], ...], dict[int, list[Trained]]] = defaultdict(lambda: defaultdict(list))
    for each in findings.of(family):
        groups[tuple((key, short(value)) for key, value in each.config.items())][each.layer].append(each)
    configs = list(groups)
    means = {config: {layer: _mean(some) for layer, some in layers.items()} for config, layers in groups.items()}
    known = [top1 for layers in means.values() for top1 in layers.values()]
    chosen = selected_ids(findings)
    rows = [
        {
            "layer": layer,
            "cells": [_cell(means[config].get(layer), known, groups[config][layer], chosen) for config in configs],
        }
        for layer in sorted({each.layer for each in findings.of(family)})
    ]
    return Sweep(family, _headers(configs), rows)


def by_layer(findings: Findings) -> list[dict[str, Any]]:
    """Arrange the best of each family as layer by family, validation and test."""
    best = {family: findings.best(family) for family in findings.families}
    test = {family: findings.test_score(family) for family in findings.families}
    chosen = selected_ids(findings)

    def cell(family: str, layer: int) -> dict[str, Any]:
        each = best[family].get(layer)
        return {
            "validation": percent(each.top1 if each else None),
            "test": percent(test[family].get(layer)),
            "chosen": each is not None and each.adapter_id in chosen,
        }

    layers = sorted({layer for each in best.values() for layer in each})
    return [{"layer": layer, "cells": [cell(family, layer) for family in findings.families]} for layer in layers]


def selected_ids(findings: Findings) -> set[str]:
    """The adapters that the selection uses; none before `select`."""
    return {member["adapter_id"] for member in findings.selection["selected"]} if findings.selection else set()


def _mean(some: list[Trained]) -> float:
    return fmean(each.top1 for each in some)


def _cell(top1: float | None, known: list[float], some: list[Trained], chosen: set[str]) -> Cell:
    if top1 is None:
        return Cell("–", 0, False)
    low, high = min(known), max(known)
    heat = round(45 * (top1 - low) / (high - low)) if high > low else 0
    return Cell(percent(top1), heat, any(each.adapter_id in chosen for each in some))


def _headers(configs: list[tuple[tuple[str, Any], ...]]) -> list[dict[str, Any]]:
    columns = [dict(config) for config in configs]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    varying = [key for key in keys if len({column.get(key) for column in columns}) > 1] or ["configuration"]
    return [{"name": key.replace("_", " "), "columns": [column.get(key, "") for column in columns]} for key in varying]
