"""Numbers of regression are kept in float64; those of a store that rounded them to float32 stay what they were."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from icecore.store import (
    FrozenBackbone,
    Identity,
    IdentityError,
    LayerSpec,
    Sample,
    StoreSpec,
    dataset_sha256,
    open_store,
    open_writer,
    verify,
)

NUMBERS = Path(__file__).parents[1] / "golden" / "format1-numbers-float32.store"
TOKENS = torch.zeros(8, 3, 8)


def numbers(num_rows: int) -> list[Sample]:
    return [Sample(f"{row}.png", None, "train", sha256="0", target=(row / 10, 1e9 + row)) for row in range(num_rows)]


def write_numbers(url: str, num_rows: int) -> None:
    samples = numbers(num_rows)
    spec = spec_of(samples, ("tenth", "large"), "float32").model_copy(update={"target": "regression"})
    with open_writer(url, spec, samples, FrozenBackbone({}, {})) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                rows = list(range(shard.start, shard.stop))
                out.append(rows, dict.fromkeys((0, 7), TOKENS[rows]))


def spec_of(samples: list[Sample], classes: tuple[str, ...], dtype: str) -> StoreSpec:
    shape = LayerSpec(num_tokens=3, width=8, num_prefix=1, grid=(1, 2))
    identity = Identity(
        backbone="golden",
        weights_sha256="0",
        preprocessing={},
        layers=(0, 7),
        tokens="all",
        dtype=dtype,
        compute_dtype="float32",
        dataset_sha256=dataset_sha256(samples, classes),
    )
    return StoreSpec(
        identity=identity,
        layers={0: shape, 7: shape},
        classes=classes,
        source="folder:golden",
        checkpoint=None,
        command="icecore extract folder:golden",
        versions={},
        shard_rows=4,
    )


def test_numbers_that_were_rounded_are_the_same_when_the_source_is_asked_again(tmp_path: Path) -> None:
    url = str(shutil.copytree(NUMBERS, tmp_path / "s.store"))
    assert verify(url) == []
    before = open_store(url)
    rounded = np.array([sample.target for sample in numbers(3)], np.float32).astype(np.float64)
    assert np.array_equal(before.targets, rounded)
    assert not np.array_equal(before.targets, np.array([sample.target for sample in numbers(3)], float))
    write_numbers(url, 3)
    assert open_store(url).identity == before.identity
    write_numbers(url, 5)
    grown = open_store(url)
    added = np.array([one.target for one in numbers(5)[3:]], float)
    assert np.array_equal(grown.targets, np.concatenate([rounded, added]))
    assert verify(url) == []
    changed = [replace(sample, target=(sample.target[0], 2.0)) for sample in numbers(5) if sample.target]
    spec = spec_of(changed, ("tenth", "large"), "float32").model_copy(update={"target": "regression"})
    with pytest.raises(IdentityError, match=r"5 of its 5 rows changed, first '0\.png' target"):
        open_writer(url, spec, changed, FrozenBackbone({}, {})).__enter__()
