"""A small random backbone, and small data sets of real image files in every format."""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image

from icecore.extract import ExtractSettings

BACKBONE = "test_vit"  # 6 blocks of width 64, 160 pixels, 101 tokens
CLASSES = ("ant", "bee", "cow")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights of the small backbone, its classifier included."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "test_vit.safetensors"
    safetensors.torch.save_file(timm.create_model(BACKBONE).state_dict(), path)
    return str(path)


@pytest.fixture
def settings(checkpoint: str) -> ExtractSettings:
    """An extraction without rounding, in shards of which the last is not full; tests change what they are about."""
    return ExtractSettings(
        backbone=BACKBONE,
        checkpoint=checkpoint,
        compute_dtype="float32",
        dtype="float32",
        batch_size=5,
        shard_rows=8,
        device="cpu",
    )


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A folder of 23 images."""
    return make_folder(tmp_path / "images")


def image_bytes(seed: int, kind: str = "JPEG") -> bytes:
    """Return a noise image whose size depends on its seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (20 + seed % 7, 30 + seed % 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def make_folder(root: Path, num_images: int = 23) -> str:
    for seed in range(num_images):
        split = "test" if seed % 4 == 0 else "train"
        path = root / split / CLASSES[seed % 3] / f"{seed:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(seed))
    return f"folder:{root}"


def make_parquet(root: Path, num_images: int = 23, names: bool = True) -> str:
    root.mkdir(exist_ok=True)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"info": {"features": {"label": {"names": CLASSES}}}}
    schema = pa.schema(
        [("image", image), ("label", pa.int64())], {"huggingface": json.dumps(features)} if names else {}
    )
    for split, seeds in (("train", range(0, num_images - 6)), ("test", range(num_images - 6, num_images))):
        images = [{"bytes": image_bytes(seed), "path": f"{seed % 2}.jpg"} for seed in seeds]
        table = pa.table([pa.array(images, image), pa.array([seed % 3 for seed in seeds])], schema)
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet", row_group_size=5)
    return f"parquet:{root}"


def make_wds(root: Path, num_images: int = 23) -> str:
    root.mkdir(exist_ok=True)
    for shard in ("train-0000", "train-0001", "test-0000"):
        with tarfile.open(root / f"{shard}.tar", "w") as tar:
            for seed in range(num_images):
                if shard == ("test-0000" if seed % 4 == 0 else f"train-000{seed % 2}"):
                    add_member(tar, f"{seed:03d}.png", image_bytes(seed, "PNG"))
                    add_member(tar, f"{seed:03d}.cls", str(seed % 3).encode())
    return f"wds:{root}"


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def make_csv(root: Path, num_images: int = 23) -> str:
    (root / "images").mkdir(parents=True, exist_ok=True)
    rows = [["path", "label", "split", "group"]]
    for seed in reversed(range(num_images)):
        (root / "images" / f"{seed:03d}.jpg").write_bytes(image_bytes(seed))
        rows.append([f"images/{seed:03d}.jpg", CLASSES[seed % 3], "val" if seed % 4 == 0 else "train", f"g{seed // 2}"])
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return f"csv:{root / 'list.csv'}"


def make_imagefolder(root: Path, num_images: int = 23) -> str:
    rows: dict[str, list[list[str]]] = {"train": [["file_name", "label"]], "test": [["file_name", "label"]]}
    for seed in range(num_images):
        split = "test" if seed % 4 == 0 else "train"
        (root / split).mkdir(parents=True, exist_ok=True)
        (root / split / f"{seed:03d}.jpg").write_bytes(image_bytes(seed))
        rows[split].append([f"{seed:03d}.jpg", CLASSES[seed % 3]])
    for split, lines in rows.items():
        with (root / split / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    return f"imagefolder:{root}"


MAKERS: dict[str, Callable[[Path], str]] = {
    "folder": make_folder,
    "parquet": make_parquet,
    "wds": make_wds,
    "csv": make_csv,
    "imagefolder": make_imagefolder,
    "timm": lambda root: "timm:" + make_folder(root).partition(":")[2],
    "sklearn": lambda _: "sklearn:digits",
    "shapes": lambda _: "shapes:count:100",
}
