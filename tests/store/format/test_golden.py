"""Stores of format 1 that were written once and are committed: every later version must open them.

`python -m tests.store.test_golden`, from the project's root, writes those of codecs that have none yet.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from icecore.store import (
    IcecoreError,
    Identity,
    LayerSpec,
    Sample,
    StoreSpec,
    dataset_sha256,
    open_store,
    open_writer,
    verify,
)
from icecore.store.codecs import CODECS
from icecore.store.documents.backbone_files import FrozenBackbone
from icecore.store.format.checksum import seal

GOLDEN = Path(__file__).parents[1] / "golden"
BOUND = {
    "float32": 0.0,
    "float16": 0.0,
    "bfloat16": 0.0,
    "int8": 1 / 16,
    "int4": 15 / 14 + 0.01,
}  # int4: half a step of the largest value
TOKENS = (torch.arange(5 * 3 * 8).reshape(5, 3, 8) % 17 - 8).float()  # whole numbers: exact in every float type


def write(dtype: str, url: str, layers: tuple[int, ...] = (0, 7), versions: str | None = None) -> None:
    samples = [Sample(f"{row}.png", row % 2, "train" if row < 3 else "test", sha256="0") for row in range(5)]
    classes = ("ant", "bee")
    shape = LayerSpec(num_tokens=3, width=8, num_prefix=1, grid=(1, 2))
    identity = Identity(
        backbone="golden",
        weights_sha256="0",
        preprocessing={},
        layers=layers,
        tokens="all",
        dtype=dtype,
        compute_dtype="float32",
        dataset_sha256=dataset_sha256(samples, classes),
    )
    spec = StoreSpec(
        identity=identity,
        layers=dict.fromkeys(layers, shape),
        classes=classes,
        source="folder:golden",
        checkpoint=None,
        command="icecore extract folder:golden",
        versions={} if versions is None else {"timm": versions},
        shard_rows=4,
    )
    frozen = FrozenBackbone({"family": "vit"}, {"norm.weight": torch.arange(8.0)})
    with open_writer(url, spec, samples, frozen, lambda layers: {k: TOKENS + k for k in layers}) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                rows = [row for row in range(shard.start, shard.stop) if row != 4]
                out.append(rows, {layer: TOKENS[rows] + layer for layer in layers})
                if shard.stop == 5:
                    out.fail(4, "zero bytes")


@pytest.mark.parametrize("dtype", CODECS)
def test_a_golden_store_opens(dtype: str) -> None:
    url = str(GOLDEN / f"format1-{dtype}.store")
    assert verify(url) == []
    store = open_store(url)
    assert store.spec.identity.dtype == dtype
    assert store.splits == {"test": 1, "train": 3}
    assert store.failed == {4: "zero bytes"}
    assert store.classes == ("ant", "bee")
    assert torch.equal(store.frozen().tensors["norm.weight"], torch.arange(8.0))
    for layer in (0, 7):
        tokens = store.layer(layer).rows(np.array([3, 0, 2]))
        assert float((tokens - (TOKENS + layer)[[3, 0, 2]]).abs().max()) <= BOUND[dtype]


@pytest.mark.parametrize("dtype", CODECS)
def test_a_golden_store_is_left_alone_and_grows(dtype: str, tmp_path: Path) -> None:
    golden, url = GOLDEN / f"format1-{dtype}.store", tmp_path / "s.ice"
    shutil.copytree(golden, url)
    write(dtype, str(url), versions="99")  # nothing to write
    for path in golden.rglob("*"):
        assert path.is_dir() or (url / path.relative_to(golden)).read_bytes() == path.read_bytes()
    write(dtype, str(url), layers=(0, 3, 7), versions="99")
    assert verify(str(url)) == []
    store = open_store(str(url))
    assert float((store.layer(3).rows(np.arange(4)) - (TOKENS + 3)[:4]).abs().max()) <= BOUND[dtype]
    assert [(one.versions, one.layers) for one in store.provenance] == [({}, (0, 7)), ({"timm": "99"}, (0, 3, 7))]


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    root = json.loads((GOLDEN / "format1-int8.store/zarr.json").read_text())
    content = {key: value for key, value in root["attributes"]["icecore"].items() if key != "checksum"}
    root["attributes"]["icecore"] = seal({**content, "format": 2})
    (tmp_path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(IcecoreError, match="store format 2, this version reads format 1; upgrade icecore"):
        open_store(str(tmp_path))


if __name__ == "__main__":
    for name in CODECS:
        if not (GOLDEN / f"format1-{name}.store").exists():
            write(name, str(GOLDEN / f"format1-{name}.store"))
