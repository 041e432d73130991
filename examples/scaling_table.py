"""Print what a large extraction weighs and takes, by the arithmetic of `extract --dry-run`: docs/guides/clusters.md.

python examples/scaling_table.py
"""

from dataclasses import dataclass

from icecore.extract.tokens import reduction
from icecore.store import Identity, LayerSpec, StoreSpec, estimate_size
from icecore.store.codecs import get_codec
from icecore.store.format.layout import shard_rows

NUM_IMAGES = 1_281_167 + 50_000  # ImageNet-1k, train and validation
VIT_LARGE = LayerSpec(num_tokens=197, width=1024, num_prefix=1, grid=(14, 14))  # at 224 pixels
NUM_BLOCKS = 24
FROZEN_BYTES = NUM_BLOCKS * 12_596_224 * 2  # its blocks in bfloat16
WORKERS, IMAGES_PER_SECOND = (1, 8, 64), 500  # of one worker; --dry-run measures yours
CHOICES = (
    ("float16", "all", NUM_BLOCKS + 1),
    ("int8", "all", NUM_BLOCKS + 1),
    ("int4", "all", NUM_BLOCKS + 1),
    ("int8", "all", 6),
    ("int8", "pool:2", NUM_BLOCKS + 1),
    ("int4", "pool:2", NUM_BLOCKS + 1),
    ("int8", "cls", NUM_BLOCKS + 1),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of one choice: an object is a file of a shard, or an entry of the ledger."""

    num_bytes: int
    num_shards: int
    num_objects: int


def scale(dtype: str, tokens: str, num_layers: int, num_images: int = NUM_IMAGES) -> Scale:
    """Return what a store of ViT-L's tokens is."""
    kept = reduction(tokens, VIT_LARGE).spec
    layers = tuple(range(num_layers))
    identity = Identity(
        backbone="vit_large_patch16_224",
        weights_sha256="",
        preprocessing={},
        layers=layers,
        tokens=tokens,
        dtype=dtype,
        compute_dtype="bfloat16",
        dataset_sha256="",
    )
    spec = StoreSpec(
        identity=identity,
        layers=dict.fromkeys(layers, kept),
        classes=(),
        source="",
        checkpoint=None,
        command="",
        versions={},
    )
    parts = get_codec(dtype).parts(kept)
    num_shards = -(-num_images // shard_rows(num_images, parts["values"].row_bytes))
    num_bytes = estimate_size(spec, num_images, FROZEN_BYTES).total
    return Scale(num_bytes, num_shards, num_shards * (num_layers * len(parts) + 1))


def table() -> str:
    """Return the table as Markdown."""
    hours = [NUM_IMAGES / (IMAGES_PER_SECOND * workers) / 3600 for workers in WORKERS]
    heads = [f"hours, {workers} worker{'s' if workers > 1 else ''}" for workers in WORKERS]
    columns = ["`--dtype`", "`--tokens`", "layers", "TB", "kB an image", "shards", "objects", "MB/s a worker", *heads]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for dtype, tokens, num_layers in CHOICES:
        size = scale(dtype, tokens, num_layers)
        image_bytes = size.num_bytes / NUM_IMAGES
        cells = [
            f"`{dtype}`",
            f"`{tokens}`",
            str(num_layers),
            f"{size.num_bytes / 1e12:.2f}",
            f"{image_bytes / 1e3:,.0f}",
            f"{size.num_shards:,}",
            f"{size.num_objects:,}",
            f"{image_bytes * IMAGES_PER_SECOND / 1e6:,.0f}",
            *(f"{each:.2f}" for each in hours),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
