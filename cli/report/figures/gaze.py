"""Attention maps of an adapter's queries, drawn over the pictures of some test rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

from icecore.store import Store
from icecore.train.adapters import ShowsAttention, get_adapter
from icecore.train.selection import stored_attention

from ..findings import Findings, Tested, Trained
from ..pictures import Look, as_data, as_seen

NUM_ROWS, NUM_MAPS = 5, 3
LIGHT = (255, 96, 0)


@dataclass(frozen=True, slots=True)
class Looked:
    """One test picture, plain and with attention maps, as (name, data URL)."""

    caption: str
    pictures: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Gaze:
    """The adapter whose attention is shown, and its pictures."""

    adapter: Trained
    rows: list[Looked]


def gaze(findings: Findings, store: Store | None, look: Look | None) -> Gaze | str:
    """Draw the attention of the adapter of largest weight that has queries; or return a sentence why not."""
    if store is None or look is None:
        return "Nothing to show without the store and its pictures."
    adapter = _looking(findings)
    if adapter is None:
        return "No adapter has queries of its own that look at tokens."
    grid = store.spec.layers[max(adapter.layers)].grid
    shown = [(one, image) for one in _typical(findings) if (image := look(one.row)) is not None]
    if grid is None or not shown:
        return "Nothing to show: the tokens lie on no grid." if grid is None else "Nothing to show: no test pictures."
    run, key = findings.opened, adapter.adapter_id
    candidate, tensors = run.candidates[key], run.tensors({key})[key]
    weights = stored_attention(store, candidate, tensors, np.array([one.row for one, _ in shown]))
    if weights is None:
        return "No adapter has queries of its own that look at tokens."
    patches = weights[..., -grid[0] * grid[1] :].unflatten(-1, grid)
    rows = [_row(findings, one, image, maps) for (one, image), maps in zip(shown, patches, strict=True)]
    return Gaze(adapter, rows)


def _looking(findings: Findings) -> Trained | None:
    """Return the selected adapter of largest weight whose family has queries, else the best other adapter that has."""
    by_id = {each.adapter_id: each for each in findings.trained}
    members = findings.selection["selected"] if findings.selection else []
    chosen = [member["adapter_id"] for member in sorted(members, key=lambda member: -member["weight"])]
    others = [one.adapter_id for one in sorted(findings.standings, key=lambda one: -one.validation)]
    return next((by_id[key] for key in (*chosen, *others) if _has_queries(by_id[key].adapter)), None)


def _has_queries(family: str) -> bool:
    return issubclass(get_adapter(family), ShowsAttention)


def _typical(findings: Findings) -> list[Tested]:
    """Return up to NUM_ROWS rows of different classes, spread over all degrees of confidence."""
    first = {one.label: one for one in sorted(findings.tested, key=lambda one: one.row, reverse=True)}
    some = sorted(first.values(), key=lambda one: (-one.probability, one.row))
    step = max(1, len(some) // NUM_ROWS)
    return some[::step][:NUM_ROWS]


def _row(findings: Findings, one: Tested, image: Image.Image, maps: torch.Tensor) -> Looked:
    classes = findings.run["classes"]
    seen = as_seen(image, findings.run["preprocessing"])
    drawn = [(name, as_data(_lit(seen, chosen))) for name, chosen in _chosen(maps, one, classes)]
    said = "rightly" if one.prediction == one.label else f"and is {classes[one.label]}"
    return Looked(f"Taken for {classes[one.prediction]}, {said}", [("as seen", as_data(seen)), *drawn])


def _chosen(maps: torch.Tensor, one: Tested, classes: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Choose attention maps (query head y x): of the classes in question, the first queries, or one query's heads."""
    if len(maps) == len(classes) > NUM_MAPS:
        for label in dict.fromkeys((one.prediction, one.label)):
            yield f"query of {classes[label]}", maps[label].mean(0)
    elif len(maps) > 1:
        yield from ((f"query {place}", each.mean(0)) for place, each in enumerate(maps[:NUM_MAPS], start=1))
    else:
        yield from ((f"head {place}", each) for place, each in enumerate(maps[0][:NUM_MAPS], start=1))


def _lit(image: Image.Image, weights: torch.Tensor) -> Image.Image:
    """Return the picture in grey, tinted warm in proportion to the attention weights."""
    light = (230 * weights / weights.max().clamp_min(1e-12)).byte().numpy()
    mask = Image.fromarray(light).resize(image.size, Image.Resampling.BICUBIC)
    grey = ImageOps.autocontrast(ImageOps.grayscale(image)).convert("RGB")
    return Image.composite(Image.new("RGB", image.size, LIGHT), grey, mask)
