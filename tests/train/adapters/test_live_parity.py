"""Training from a float32 store is training with the live frozen backbone: the same losses, step after step."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from icecore.store import Identity, Sample, StoreSpec, dataset_sha256, open_store, open_writer
from icecore.train.adapters import get_adapter
from icecore.train.runs.candidate import Candidate, Recipe
from icecore.train.sweep.group import Group
from icecore.train.sweep.halving import Halving
from icecore.train.targets import get_target
from icecore.train.tokens.batch import Reads, TokenBatch, make_batch
from icecore.train.tokens.feed import Data, Feed, StoreFeed
from icecore.train.tokens.order import Batches, Order, Pool

from .live_vit import LiveViT, images_of

NUM_ROWS, BATCH_SIZE, NUM_EPOCHS = 40, 16, 17  # three steps an epoch, of 14, 13 and 13 rows
CLASSES = ("ant", "bee", "cow", "dog", "elk")
CASES: list[tuple[str, dict[str, Any], float]] = [
    ("linear", {"pooling": "cls+mean"}, 1e-2),
    ("inca", {"num_heads": 3}, 3e-3),
    ("linear", {"num_layers": 4}, 1e-2),
    ("inca", {"num_heads": 3, "tokens": "patches"}, 3e-3),
    ("losa", {"rank": 4}, 3e-3),
    ("lst", {"reduction": 4}, 3e-3),
    ("mist", {"rank": 4}, 3e-3),
    ("attentive", {"num_heads": 3, "num_layers": 2}, 3e-3),
    ("attentive", {"num_heads": 3, "form": "vjepa"}, 3e-3),
    ("efficient", {"num_slices": 6}, 3e-3),
    ("open_inca", {"num_heads": 3}, 3e-3),
    ("vqt", {"num_queries": 2}, 1e-2),
    ("vqt", {"keep": 0.5}, 1e-2),
    ("synqt", {"num_queries": 2}, 1e-3),
    ("head2toe", {"num_features": 48, "keep": 0.25}, 1e-2),
]


@dataclass(frozen=True)
class LiveFeed:
    """The images themselves, put through the frozen backbone whenever a batch is asked for."""

    model: LiveViT
    images: Tensor
    layers: tuple[int, ...]
    reads: frozenset[Reads]

    @property
    def num_rows(self) -> int:
        return len(self.images)

    def batches(self, batches: Batches, first: int = 0) -> Iterator[TokenBatch]:
        for batch in batches[first:]:
            tokens = {layer: one for layer, one in self.model(self.images[batch]).items() if layer in self.layers}
            yield make_batch(tokens, dict.fromkeys(self.layers, self.model.spec), 1e-6, self.reads)


def write_store(model: LiveViT, images: Tensor, url: str) -> None:
    samples = [Sample(f"{row}.png", row % len(CLASSES), "train") for row in range(len(images))]
    identity = Identity(
        backbone="live",
        weights_sha256="w",
        preprocessing={},
        layers=model.layers,
        tokens="all",
        dtype="float32",
        compute_dtype="float32",
        dataset_sha256=dataset_sha256(samples, CLASSES),
    )
    shapes = dict.fromkeys(model.layers, model.spec)
    rest: dict[str, Any] = {"source": "x", "checkpoint": None, "command": "x", "versions": {}, "shard_rows": 16}
    spec = StoreSpec(identity=identity, layers=shapes, classes=CLASSES, **rest)
    with open_writer(url, spec, samples, model.frozen) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                rows = list(range(shard.start, shard.stop))
                out.append(rows, model(images[rows]), 0)


def curve(feed: Feed, candidate: Candidate, model: LiveViT) -> Tensor:
    """Train, and return after every step the sum of the epoch's losses so far."""
    labels, found = torch.arange(NUM_ROWS) % len(CLASSES), list[Tensor]()
    data, target = Data(feed, labels), get_target("class").fitted(labels)
    scope = model.scope(candidate.layers)
    group = Group(
        [candidate],
        scopes=lambda _: scope,
        train=data,
        validation=data,
        target=target,
        halving=Halving((candidate,), ()),
    )
    order = Order(np.arange(NUM_ROWS), Pool(NUM_ROWS, NUM_ROWS, 16), 1, 0)
    group.run(order, lambda _: None, lambda: found.append(group.totals[0].clone()))
    return torch.cat(found)


@pytest.mark.parametrize(("name", "options", "lr"), CASES)
def test_fifty_steps_from_the_store_are_fifty_steps_with_the_backbone(
    name: str, options: dict[str, Any], lr: float, tmp_path: Path
) -> None:
    model, images, url = LiveViT(), images_of(NUM_ROWS), str(tmp_path / "s.ice")
    write_store(model, images, url)
    store, family = open_store(url), get_adapter(name)
    config = family.Config.model_validate(options)
    layers = family.layer_groups(config, store.layers)[-1]
    config = family.resolve(config, model.scope(layers))
    recipe = Recipe(lr=lr, weight_decay=0.01, epochs=NUM_EPOCHS, batch_size=BATCH_SIZE)
    candidate = Candidate(adapter=name, layers=layers, config=config.model_dump(mode="json"), recipe=recipe)
    stored = StoreFeed(
        store=store,
        rows=np.arange(NUM_ROWS),
        layers=layers,
        reads=family.reads,
        eps=1e-6,
        device=torch.device("cpu"),
    )
    ours = curve(stored, candidate, model)
    live = curve(LiveFeed(model, images, layers, family.reads), candidate, model)
    assert len(live) == 51
    torch.testing.assert_close(ours, live, rtol=1e-4, atol=1e-4)
    assert live[2::3].min() < 0.99 * live[2]  # whole epochs: it learnt
