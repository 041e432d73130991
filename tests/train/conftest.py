"""Tiny stores whose answer is known: noise everywhere, and a label planted where a test says."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icecore.store import FrozenBackbone, Identity, LayerSpec, Sample, StoreSpec, dataset_sha256, open_writer
from icecore.train import TrainSettings
from icecore.train.runs.validation_predictions import ValidationPredictions

LAYERS = (0, 1, 2)
WIDTH, NUM_TOKENS = 16, 7
CLASSES = ("ant", "bee", "cow")
SPEC = LayerSpec(num_tokens=NUM_TOKENS, width=WIDTH, num_prefix=1, grid=(2, 3))
NORM = {"norm.weight": torch.full((WIDTH,), 1.5), "norm.bias": torch.linspace(-1, 1, WIDTH)}
REBUILD = {
    "num_heads": 4,
    "eps": 1e-6,
    "qk_norm": False,
    "attention_norm": False,
    "mlp": "plain",
    "mlp_norm": False,
    "activation": "gelu",
}
BLOCK_SHAPES = {
    "norm1.weight": (WIDTH,),
    "norm1.bias": (WIDTH,),
    "attn.qkv.weight": (3 * WIDTH, WIDTH),
    "attn.qkv.bias": (3 * WIDTH,),
    "attn.proj.weight": (WIDTH, WIDTH),
    "attn.proj.bias": (WIDTH,),
    "norm2.weight": (WIDTH,),
    "norm2.bias": (WIDTH,),
    "mlp.fc1.weight": (2 * WIDTH, WIDTH),
    "mlp.fc1.bias": (2 * WIDTH,),
    "mlp.fc2.weight": (WIDTH, 2 * WIDTH),
    "mlp.fc2.bias": (WIDTH,),
}


def _blocks(num_blocks: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        f"blocks.{index}.{name}": torch.randn(shape, generator=generator) * 0.3
        for index in range(num_blocks)
        for name, shape in BLOCK_SHAPES.items()
    }


FROZEN = FrozenBackbone({"eps": 1e-6, "rebuild": REBUILD}, NORM | _blocks(len(LAYERS) - 1))
FAST = TrainSettings(
    lr=(1e-2,), weight_decay=(0.01,), heads=(4,), epochs=8, batch_size=32, device="cpu", compute_dtype="float32"
)

MakeStore = Callable[..., str]


def samples_of(labels: Sequence[int | None], splits: Sequence[str], groups: Sequence[str | None]) -> list[Sample]:
    rows = zip(labels, splits, groups, strict=True)
    return [Sample(f"{row}.png", label, split, group) for row, (label, split, group) in enumerate(rows)]


def write_store(
    folder: Path,
    num_rows: int = 131,
    planted: int | None = None,
    labels: Sequence[int | None] | None = None,
    splits: Sequence[str] | None = None,
    groups: Sequence[str | None] | None = None,
    failed: Sequence[int] = (),
    num_shards: int | None = None,
    name: str = "s.ice",
    num_views: int = 1,
    targets: Sequence[tuple[float, ...] | None] | None = None,
    target: str = "class",
    shows: torch.Tensor | None = None,  # by the layer that is planted, in place of the label or the target
    classes: tuple[str, ...] = CLASSES,
    layers: Sequence[int] = LAYERS,
    **identified: object,
) -> str:
    """Write a store, or what it lacks of this: `planted` is the layer that shows the label, in one patch.

    `identified` are further fields of its identity.
    """
    labels = labels if labels is not None else [row % 3 for row in range(num_rows)]
    splits = splits or ["test" if row % 5 == 4 else "train" for row in range(num_rows)]
    samples = samples_of(labels, splits, groups or [None] * num_rows)
    if targets is not None:
        samples = [replace(one, label=None, target=mine) for one, mine in zip(samples, targets, strict=True)]
    identity = Identity(
        backbone="tiny",
        weights_sha256="w",
        preprocessing={"size": 8},
        layers=tuple(layers),
        tokens="all",
        dtype="float32",
        compute_dtype="float32",
        views=num_views,
        dataset_sha256=dataset_sha256(samples, classes),
    ).model_copy(update=identified)
    spec = StoreSpec(
        identity=identity,
        layers=dict.fromkeys(layers, SPEC),
        classes=classes,
        target=target,  # pyright: ignore[reportArgumentType]
        source="folder:x",
        checkpoint=None,
        command="icecore extract folder:x s.ice --backbone tiny",
        versions={},
        shard_rows=64,
    )
    generator = torch.Generator().manual_seed(1)
    tokens = {k: torch.randn(num_rows, NUM_TOKENS, WIDTH, generator=generator) for k in LAYERS}
    directions = torch.randn(len(classes), WIDTH, generator=generator) * 3
    if planted is not None:
        shown = torch.eye(len(classes))[torch.tensor([label or 0 for label in labels])]
        if targets is not None:
            shown = torch.tensor([mine or (0.0,) * len(classes) for mine in targets])
        shown = shown if shows is None else shows.float()
        tokens[planted][:, 4] += shown @ directions
    url = str(folder / name)
    with open_writer(url, spec, samples, FROZEN) as writer:
        for shard in writer.todo[:num_shards]:
            with writer.shard(shard) as out:
                rows = [row for row in range(shard.start, shard.stop) if row not in failed]
                for view in shard.views:  # the same tokens, shifted a little: told apart, and learnt from alike
                    out.append(rows, {layer: tokens[layer][rows] + view / 8 for layer in shard.layers}, view)
                for row in set(failed) & set(range(shard.start, shard.stop)):
                    out.fail(row, "truncated")
    return url


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """Write a store into the folder of a test."""
    return functools.partial(write_store, tmp_path)


def predictions_of(kept: ValidationPredictions) -> Tensor:
    """All predictions that a run kept, in memory: adapter, row, output."""
    return torch.cat([tables.clone() for _, _, tables in kept.tables.blocks()], 1)
