"""What `icecore select` takes where there is much to choose from: seconds and memory of every selector.

A RUN of invented predictions: 500 linear probes of 13 layers, 10,000 validation rows, 1,000 classes, 10 GB in all, and
a store of narrow noise with as many test rows as the probes are asked about. Each selector runs as the command does,
in a process of its own with one thread: the seconds of its processor, imports included, and its peak of memory.
`--adapters`, `--rows`, `--classes` and `--test-rows` change the size, `--selectors` does fewer, `--runs DIR` keeps what
was made.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from harness import Figure, cost_of, main, scratch
from torch import Tensor

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
from icecore.train.runs.adapters_file import write_adapters
from icecore.train.runs.candidate import Candidate, Recipe
from icecore.train.runs.result import STATUS_OK, EpochResult
from icecore.train.runs.run import results_bytes, write_run
from icecore.train.runs.validation_file import FILE, write_predictions
from icecore.train.selection.selectors import SELECTORS
from icecore.train.targets import get_target

LAYERS, WIDTH = tuple(range(13)), 8
MOST_SECONDS, MOST_MB = 60, 2000
FROZEN = FrozenBackbone({"eps": 1e-6}, {"norm.weight": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)})


def write_store(url: str, num_rows: int, num_test: int, num_classes: int) -> Store:
    """Write narrow noise: a train row a class, the validation rows, the test rows."""
    splits = ["train"] * num_classes + ["validation"] * num_rows + ["test"] * num_test
    samples = [Sample(f"{row}.png", row % num_classes, split) for row, split in enumerate(splits)]
    classes = tuple(f"class {label}" for label in range(num_classes))
    identity = Identity(
        backbone="noise",
        weights_sha256="none",
        preprocessing={},
        layers=LAYERS,
        tokens="cls",
        dtype="float16",
        compute_dtype="float32",
        dataset_sha256=dataset_sha256(samples, classes),
    )
    layer = LayerSpec(num_tokens=1, width=WIDTH, num_prefix=1, grid=None)
    spec = StoreSpec(
        identity=identity,
        layers=dict.fromkeys(LAYERS, layer),
        classes=classes,
        source="noise",
        checkpoint=None,
        command="python bench",
        versions={},
    )
    generator = torch.Generator().manual_seed(0)
    with open_writer(url, spec, samples, FROZEN) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                tokens = torch.randn(shard.stop - shard.start, 1, WIDTH, generator=generator)
                out.append(list(range(shard.start, shard.stop)), dict.fromkeys(LAYERS, tokens))
    return open_store(url)


class Invented(Mapping[str, Tensor]):
    """Predictions that are drawn when they are asked for: the label shows in each, in some more than in others."""

    def __init__(self, ids: list[str], labels: Tensor, num_classes: int) -> None:
        self._ids, self._labels = {key: place for place, key in enumerate(ids)}, labels
        self._noise = torch.randn(len(labels), num_classes, generator=torch.Generator().manual_seed(0))

    def __getitem__(self, key: str) -> Tensor:
        place = self._ids[key]
        logits = self._noise.roll(17 * place + 1, 1) * 1.5
        logits[torch.arange(len(logits)), self._labels] += 2 + 4 * ((place * 7919) % 500) / 500
        return logits.softmax(1).half()

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def write_scaled_run(folder: Path, options: argparse.Namespace) -> str:
    """Write the store and the RUN, unless they are there."""
    name = f"{options.adapters}x{options.rows}x{options.classes}x{options.test_rows}"
    path = folder / f"{name}.run"
    if (path / "run.json").exists():
        return str(path)
    store = write_store(str(folder / f"{name}.ice"), options.rows, options.test_rows, options.classes)
    rows, target = store.rows("validation"), get_target("class")
    recipes = [Recipe(lr=1e-3, weight_decay=0, epochs=1, batch_size=64, seed=seed) for seed in range(options.adapters)]
    config = {"pooling": "cls", "norm": "final"}
    candidates = [
        Candidate(adapter="linear", layers=(LAYERS[place % len(LAYERS)],), config=dict(config), recipe=recipe)
        for place, recipe in enumerate(recipes)
    ]
    labels = target.labels(store, rows)
    invented = Invented([one.adapter_id for one in candidates], labels, options.classes)
    results = [EpochResult(one, 1, 1.0, 0.5, 1.0, 1.0, options.classes * (WIDTH + 1), STATUS_OK) for one in candidates]
    generator = torch.Generator().manual_seed(0)
    trained = {
        one.adapter_id: {
            "weight": torch.randn(options.classes, WIDTH, generator=generator),
            "bias": torch.zeros(options.classes),
        }
        for one in candidates
    }
    files = {
        "results.parquet": results_bytes(results),
        "adapters.safetensors": partial(write_adapters, trained=trained),
        FILE: partial(write_predictions, predictions=invented, rows=rows, labels=labels, target=target),
    }
    facts = {
        "store": store.url,
        "identity": store.identity.model_dump(mode="json"),
        "identity_sha256": store.identity.sha256,
        "backbone": {"name": "noise", "weights_sha256": "none", "compute_dtype": "float32", "checkpoint": None},
        "preprocessing": {},
        "classes": list(store.classes),
        "target": {"name": "class"},
        "layers": list(LAYERS),
        "settings": {},
        "validation": {"num_rows": len(rows)},
        "cost": {"num_adapters": len(candidates), "num_diverged": 0, "elapsed_seconds": 0, "bytes_read": 0},
        "versions": {},
    }
    write_run(str(path), files, facts)
    return str(path)


def measure(run: str, selector: str) -> list[Figure]:
    """Run the command once."""
    icecore = str(Path(sys.executable).parent / "icecore")
    cost = cost_of([icecore, "select", run, "--selector", selector, "--device", "cpu"])
    found = [
        Figure(f"{selector}: CPU seconds", cost.seconds, f"<= {MOST_SECONDS}"),
        Figure(f"{selector}: peak of memory, MB", cost.num_bytes / 1e6, f"<= {MOST_MB}"),
    ]
    print(*found, sep="\n", flush=True)
    return found


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    if options.quick:
        options.adapters, options.rows, options.classes, options.test_rows = 40, 500, 50, 100
    with scratch() as folder:
        path = write_scaled_run(options.runs or folder, options)
        return [figure for name in options.selectors.split(",") for figure in measure(path, name)]


def more(options: argparse.ArgumentParser) -> None:
    """Add what this script alone is asked."""
    for name, size in (("adapters", 500), ("rows", 10_000), ("classes", 1_000), ("test-rows", 2_000)):
        options.add_argument(f"--{name}", type=int, default=size)
    options.add_argument("--selectors", default=",".join(SELECTORS))
    options.add_argument("--runs", type=Path, help="a folder that keeps what was made")


if __name__ == "__main__":
    main(run, __doc__, more)
