"""What a smaller cache saves on disk and costs in accuracy, over the four data sets.

A = stores in int8 and int4, with and without 2x2 pooling; B = the same tokens in float16. The bytes are those of whole
stores, all 13 layers, checksums and backbone included. The accuracy is that of InCA (best of four configurations by
validation, three seeds, mean) on two layers of each data set, test split. One float16 extraction a data set is written
again in every other form through the store's own writer: what `extract --dtype --tokens` does after the forward.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from harness import BACKBONE, CHECKPOINT, SOURCES, Figure, main, scratch

from icecore.extract import ExtractSettings, extract
from icecore.extract.tokens import reduction
from icecore.store import Sample, Store, StoreSpec, open_store, open_writer
from icecore.train import SelectSettings, TrainSettings, select, train

LAYERS = {"gtsrb": (5, 12), "rsscn7": (6, 12), "caltech101": (10, 12), "pacs-sketch": (9, 12)}
FORMS = (("float16", "all"), ("int8", "all"), ("int4", "all"), ("int8", "pool:2"), ("int4", "pool:2"))
MOST_BYTES = {("int8", "all"): "<= 0.52", ("int4", "all"): "<= 0.30", ("int4", "pool:2"): "<= 0.08"}
MOST_LOSS = {("int8", "all"): "<= 0.3", ("int4", "all"): "<= 0.5", ("int4", "pool:2"): "<= 1.0"}


def reshaped(spec: StoreSpec, dtype: str, tokens: str, layers: tuple[int, ...]) -> StoreSpec:
    """Return what a store holds in another form, of some layers only."""
    identity = spec.identity.model_copy(update={"dtype": dtype, "tokens": tokens, "layers": layers})
    shapes = {layer: reduction(tokens, spec.layers[layer]).spec for layer in layers}
    return spec.model_copy(update={"identity": identity, "layers": shapes})


def recode(store: Store, url: str, dtype: str, tokens: str, layers: tuple[int, ...]) -> Store:
    """Write the rows of a store again in another form."""
    reduce = {layer: reduction(tokens, store.spec.layers[layer]).reduce for layer in layers}
    fields = Sample.__slots__
    samples = [Sample(**{name: row[name] for name in fields}) for row in store.samples.to_pylist()]

    def rows(some: slice, wanted: tuple[int, ...]) -> dict[int, torch.Tensor]:
        return {layer: reduce[layer](store.layer(layer).rows(some)) for layer in wanted}

    spec = reshaped(store.spec, dtype, tokens, layers)
    measure = lambda wanted: rows(slice(0, None, max(1, store.num_rows // 64)), wanted)  # noqa: E731
    with open_writer(url, spec, samples, store.frozen(), measure) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                for start in range(shard.start, shard.stop, 128):
                    some = range(start, min(start + 128, shard.stop))
                    out.append(some, rows(slice(some.start, some.stop), layers))
    return open_store(url)


def accuracy(store: str, run: Path) -> float:
    """Return InCA's test accuracy in points, the mean over layers and three orders of the rows."""
    found = []
    for seed in range(3):
        settings = TrainSettings(adapters=("inca",), lr=(1e-3, 3e-3), weight_decay=(0.01, 0.3), shuffle_seed=seed)
        folder = run / str(seed)
        train(store, str(folder), settings)
        select(str(folder), SelectSettings())
        table = json.loads((folder / "selection.json").read_text())["table"]
        found += [100 * row["test_score"] for row in table]
    return sum(found) / len(found)


def measure(name: str, folder: Path, limit: int | None) -> dict[tuple[str, str], tuple[int, float]]:
    """Return bytes and accuracy of every form of one data set."""
    whole = str(folder / f"{name}.ice")
    extract(
        SOURCES[name], whole, ExtractSettings(backbone=BACKBONE, checkpoint=CHECKPOINT, dtype="float16", limit=limit)
    )
    store = open_store(whole)
    found = {}
    for dtype, tokens in FORMS:
        all_layers = recode(store, str(folder / "all.ice"), dtype, tokens, store.layers)
        num_bytes = all_layers.num_bytes()
        shutil.rmtree(folder / "all.ice")
        two = recode(store, str(folder / "two.ice"), dtype, tokens, LAYERS[name])
        found[dtype, tokens] = num_bytes, accuracy(two.url, folder / "run")
        print(f"{name:12} {dtype:8} {tokens:7} {num_bytes / 1e6:8.1f} MB  {found[dtype, tokens][1]:5.1f} %", flush=True)
        shutil.rmtree(folder / "two.ice")
        shutil.rmtree(folder / "run")
    shutil.rmtree(folder / f"{name}.ice")
    return found


def run(options: argparse.Namespace) -> list[Figure]:
    """Measure."""
    names = ("gtsrb",) if options.quick else tuple(SOURCES)
    with scratch() as folder:
        found = [measure(name, folder, 200 if options.quick else None) for name in names]
    figures = []
    for form in FORMS[1:]:
        label = f"{form[0]}, tokens {form[1]}"
        ratio = sum(one[form][0] for one in found) / sum(one[FORMS[0]][0] for one in found)
        loss = sum(one[FORMS[0]][1] - one[form][1] for one in found) / len(found)
        figures.append(Figure(f"{label}: bytes / float16", ratio, MOST_BYTES.get(form, "")))
        figures.append(Figure(f"{label}: points of accuracy lost, mean", loss, MOST_LOSS.get(form, "")))
    return figures


if __name__ == "__main__":
    main(run, __doc__)
