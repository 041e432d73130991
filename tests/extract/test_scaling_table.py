"""The page about clusters says what the arithmetic says, and the arithmetic is that of real stores."""

import runpy
from pathlib import Path

import pytest
import torch

from icecore.extract.tokens import reduction
from icecore.store import FrozenBackbone, Identity, Sample, StoreSpec, dataset_sha256, open_store, open_writer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(ROOT / "examples" / "scaling_table.py"))


def test_the_page_has_the_table(script: dict) -> None:
    assert script["table"]() in (ROOT / "docs/guides/clusters.md").read_text()


@pytest.mark.parametrize(("dtype", "tokens", "num_layers"), [("int8", "cls", 3), ("int4", "pool:7", 2)])
def test_a_real_store_has_as_many_objects_and_bytes(
    dtype: str, tokens: str, num_layers: int, script: dict, tmp_path: Path
) -> None:
    num_rows, layer = 300, reduction(tokens, script["VIT_LARGE"]).spec
    samples = [Sample(f"{row:06d}", 0, "train", sha256="0" * 64) for row in range(num_rows)]
    identity = Identity(
        backbone="vit",
        weights_sha256="",
        preprocessing={},
        layers=tuple(range(num_layers)),
        tokens=tokens,
        dtype=dtype,
        compute_dtype="float32",
        dataset_sha256=dataset_sha256(samples, ("a",)),
    )
    spec = StoreSpec(
        identity=identity,
        layers=dict.fromkeys(range(num_layers), layer),
        classes=("a",),
        source="",
        checkpoint=None,
        command="",
        versions={},
    )
    noise = torch.randn(num_rows, layer.num_tokens, layer.width)
    frozen = FrozenBackbone({}, {"norm.weight": torch.ones(1024)})
    with open_writer(str(tmp_path), spec, samples, frozen, lambda ks: dict.fromkeys(ks, noise[:8])) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                rows = list(range(shard.start, shard.stop))
                out.append(rows, dict.fromkeys(range(num_layers), noise[rows]))
    expected = script["scale"](dtype, tokens, num_layers, num_rows)
    files = [path.relative_to(tmp_path).parts for path in tmp_path.rglob("*") if path.is_file()]
    assert sum("c" in parts or parts[0] == "ledger" for parts in files) == expected.num_objects
    num_bytes = open_store(str(tmp_path)).num_bytes()
    assert num_bytes == pytest.approx(expected.num_bytes - script["FROZEN_BYTES"], rel=0.06)
