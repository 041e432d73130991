"""Training-free scores of the layers of a store: every layer's train rows are read once, for all scores together.

A ranking of layers before anything is trained. Never reads a test row. Computes in float64 on the CPU.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from icecore.store import Frozen, IcecoreError, LayerSpec, Store, UsageError, open_store

from ..adapters import get_adapter
from ..adapters.adapter import make_scope
from ..settings import ScoreSettings
from ..splits.split import groups_of, strata_of, train_rows
from ..tokens.batch import POOLINGS
from ..tokens.feed import StoreFeed, block_rows
from . import get_score
from .features import FeatureFitter, Features


class LayerScore(Frozen):
    """The score `name` of one layer on its pooled vectors; higher means that the classes are easier to tell apart."""

    layer: int
    name: str
    pooling: str
    score: float


def score(store: str, settings: ScoreSettings) -> list[LayerScore]:
    """Return every score of every layer of the store at a path or URL, layer by layer.

    Raises:
        UsageError: a score is unknown, or a layer lacks the tokens that a pooling needs.
        IcecoreError: the store is incomplete, its labels are not single classes, or it has fewer than two of them.
    """
    return _score(open_store(store), settings)


def top_layers(store: Store, count: int) -> tuple[int, ...]:
    """Return the `count` layers of highest ridge score, ascending; of equal scores the shallower layer wins."""
    if not 0 < count <= len(store.layers):
        raise UsageError(f"layers 'top:{count}': expected a number from 1 to {len(store.layers)}, the store's layers")
    best = sorted(_score(store, ScoreSettings()), key=lambda one: (-one.score, one.layer))
    return tuple(sorted(one.layer for one in best[:count]))


def _score(store: Store, settings: ScoreSettings) -> list[LayerScore]:
    """Score one layer a thread: a core each costs less than all cores meeting at the end of every small product."""
    scores = {name: get_score(name) for name in settings.scores}
    poolings = {layer: _poolings(store.spec.layers[layer], layer, settings) for layer in store.layers}
    rows, labels, groups = _rows(store)
    eps = make_scope(store, store.layers, get_adapter("linear")).eps

    def of_layer(layer: int) -> list[LayerScore]:
        feed = StoreFeed(
            store=store,
            rows=rows,
            layers=(layer,),
            reads=frozenset({"features"}),
            eps=eps,
            device=torch.device("cpu"),
            in_order=True,
        )
        gathered = _gather(feed, labels, groups, poolings[layer], settings.norm)
        return [
            LayerScore(layer=layer, name=name, pooling=pooling, score=of(features))
            for pooling, features in gathered
            for name, of in scores.items()
        ]

    num_threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as executor:
            return [one for found in executor.map(of_layer, store.layers) for one in found]
    finally:
        torch.set_num_threads(num_threads)


def _gather(
    feed: StoreFeed, labels: Int64[Tensor, " row"], groups: Int64[Tensor, " row"], poolings: tuple[str, ...], norm: str
) -> Iterator[tuple[str, Features]]:
    """Walk through one layer once, then yield its vectors pooled in every way."""
    fitters = {pooling: FeatureFitter() for pooling in poolings}
    suffix, start = "_normalised" if norm == "final" else "", 0
    for seen in feed.batches(torch.arange(feed.num_rows).split(block_rows(feed.store, feed.layers))):
        pooled = seen.features[feed.layers[0]]
        here = slice(start, start + len(pooled))
        for pooling, fitter in fitters.items():
            where = [POOLINGS.index(part + suffix) for part in pooling.split("+")]
            fitter.update(pooled[:, where].flatten(1), labels[here], groups[here])
        start = here.stop
    for pooling, fitter in fitters.items():
        yield pooling, fitter.fit()


def _poolings(spec: LayerSpec, layer: int, settings: ScoreSettings) -> tuple[str, ...]:
    there = {"cls": spec.num_prefix > 0, "mean": spec.num_tokens > spec.num_prefix}
    whole = "+".join(name for name, is_there in there.items() if is_there)
    for pooling in settings.pooling or (whole,):
        for part in pooling.split("+"):
            if not there[part]:
                raise UsageError(
                    f"pooling {pooling!r}: layer {layer} has no tokens for {part!r}; use --pooling {whole}"
                )
    return settings.pooling or (whole,)


def _rows(store: Store) -> tuple[Int64[np.ndarray, " row"], Int64[Tensor, " row"], Int64[Tensor, " row"]]:
    """Return the train rows, their labels and the number of each one's group."""
    store.require_complete()
    if store.spec.target != "class":
        raise IcecoreError(f"{store.url}: target {store.spec.target!r}, expected 'class'; only that can be scored")
    rows = train_rows(store)
    labels, groups = strata_of(store, rows), groups_of(store, rows)
    groups = torch.arange(len(rows)) if groups is None else groups
    for what, there in (("classes", labels), ("groups", groups.numpy())):
        if len(np.unique(there)) < 2:
            raise IcecoreError(
                f"{store.url}: {len(rows)} train rows of {len(np.unique(there))} {what}, expected two or more to tell "
                "apart; add rows to the split 'train' of the source"
            )
    return rows, torch.from_numpy(labels), groups
