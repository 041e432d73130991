"""Stores of noise with a label in it, for benchmarks that need bytes and no images."""

import torch

from icecore.store import (
    FrozenBackbone,
    Identity,
    LayerSpec,
    Sample,
    Store,
    StoreSpec,
    dataset_sha256,
    open_store,
    open_writer,
)

LAYER = LayerSpec(num_tokens=197, width=192, num_prefix=1, grid=(14, 14))  # of a ViT-Tiny
NUM_CLASSES = 10
FROZEN = FrozenBackbone({"eps": 1e-6}, {"norm.weight": torch.ones(LAYER.width), "norm.bias": torch.zeros(LAYER.width)})


def write_store(url: str, num_rows: int, layers: tuple[int, ...] = (0,), shard_rows: int | None = None) -> Store:
    """Write an int8 store in class order, all rows for training."""
    labels = [row * NUM_CLASSES // num_rows for row in range(num_rows)]
    samples = [Sample(f"{row}.png", label, "train") for row, label in enumerate(labels)]
    classes = tuple(f"class {label}" for label in range(NUM_CLASSES))
    identity = Identity(
        backbone="noise",
        weights_sha256="none",
        preprocessing={},
        layers=layers,
        tokens="all",
        dtype="int8",
        compute_dtype="float32",
        dataset_sha256=dataset_sha256(samples, classes),
    )
    spec = StoreSpec(
        identity=identity,
        layers=dict.fromkeys(layers, LAYER),
        classes=classes,
        source="noise",
        checkpoint=None,
        command="python bench",
        versions={},
        shard_rows=shard_rows,
    )
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(64, LAYER.num_tokens, LAYER.width, generator=generator)
    directions = torch.randn(NUM_CLASSES, LAYER.width, generator=generator) / 4
    with open_writer(url, spec, samples, FROZEN) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                for start in range(shard.start, shard.stop, len(noise)):
                    rows = list(range(start, min(start + len(noise), shard.stop)))
                    tokens = noise[: len(rows)].roll(start, 1) + directions[[labels[row] for row in rows]][:, None]
                    out.append(rows, dict.fromkeys(layers, tokens))
    return open_store(url)
