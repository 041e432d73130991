"""The layers from which feature-selecting adapters kept their features."""

from dataclasses import dataclass
from typing import Any

import torch

from icecore.store import Store
from icecore.train.adapters import SelectsFeatures, get_adapter
from icecore.train.sweep import load_stack

from ...show.wording import configuration, percent
from ..findings import Findings, Trained
from ..tables import Cell


@dataclass(frozen=True, slots=True)
class Kept:
    """A column for each adapter, a row for each layer."""

    columns: list[str]
    rows: list[dict[str, Any]]


def kept_shares(findings: Findings, store: Store | None) -> Kept | None:
    """Tabulate kept features by layer for selected and leading adapters; None without such adapters or the store."""
    shown = {*findings.chosen, *(one.adapter_id for one in findings.standings)}
    choosing = [each for each in findings.trained if each.adapter_id in shown and _chooses(each)]
    if store is None or not choosing:
        return None
    run, cpu = findings.opened, torch.device("cpu")
    tensors = run.tensors({each.adapter_id for each in choosing})
    found: list[tuple[Trained, dict[int, float]]] = []
    for each in choosing:
        adapter = load_stack(store, [run.candidates[each.adapter_id]], tensors, cpu)
        if isinstance(adapter, SelectsFeatures):
            found.append((each, {layer: float(share) for layer, share in adapter.kept_by_layer().items()}))
    return _table([(each, shares) for each, shares in found if shares])


def _chooses(each: Trained) -> bool:
    return each.score is not None and issubclass(get_adapter(each.adapter), SelectsFeatures)


def _table(found: list[tuple[Trained, dict[int, float]]]) -> Kept | None:
    if not found:
        return None
    layers = sorted({layer for _, shares in found for layer in shares})
    columns = [f"{each.adapter}, {configuration({'keep': each.config['keep']})}" for each, _ in found]
    rows = [{"name": str(layer), "cells": [_cell(shares, layer) for _, shares in found]} for layer in layers]
    return Kept(columns, rows)


def _cell(shares: dict[int, float], layer: int) -> Cell:
    share = shares.get(layer)
    heat = 0 if share is None else round(45 * share / max(*shares.values(), 1e-12))
    return Cell(percent(share), heat, chosen=False)
