"""A store gains layers, views and rows without redoing what is there, and refuses everything else."""

import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from icecore.store import (
    IdentityError,
    LayerSpec,
    Sample,
    StoreSpec,
    UsageError,
    dataset_sha256,
    open_store,
    open_writer,
    verify,
)

from ..conftest import CLASSES, FROZEN, LAYER, NUM_ROWS, fill, make_samples, make_spec, make_tokens


def with_layers(*layers: int, views: int = 1, dtype: str = "float32") -> StoreSpec:
    spec = make_spec(dtype=dtype, identity={"layers": layers, "views": views})
    return spec.model_copy(update={"layers": dict.fromkeys(layers, LAYER)})


def stamps(url: str) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in Path(url).rglob("c/*/*/*/*")}


@pytest.mark.parametrize("dtype", ["float32", "int4"])
def test_layers_are_added_beside_what_is_there(url: str, tokens: dict[int, Tensor], dtype: str) -> None:
    fill(url, tokens, with_layers(0, dtype=dtype))
    before = stamps(url)
    fill(url, tokens, with_layers(3, dtype=dtype))
    store = open_store(url)
    assert store.layers == (0, 3)
    assert store.num_missing == 0
    assert before.items() <= stamps(url).items()
    bound = 0.5 if dtype == "int4" else 0.0
    for layer in (0, 3):
        assert float((store.layer(layer).rows(slice(None)) - tokens[layer]).abs().max()) <= bound
    assert verify(url) == []


def test_a_reader_of_old_layers_is_not_disturbed_while_new_ones_come(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, with_layers(0))
    fill(url, tokens, with_layers(0, 3), num_shards=1)
    store = open_store(url)
    assert torch.equal(store.layer(0).rows(slice(None)), tokens[0])
    assert store.num_missing == NUM_ROWS - 64
    assert {problem.layer for problem in verify(url)} == {3}


def test_views_and_layers_in_one_step(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, with_layers(0))
    before = stamps(url)
    with open_writer(url, with_layers(0, 3, views=2), make_samples(), FROZEN) as writer:
        assert {shard.lacking for shard in writer.todo} == {((3, 0), (0, 1), (3, 1))}
    fill(url, tokens, with_layers(0, 3, views=2))
    assert before.items() <= stamps(url).items()
    assert torch.equal(open_store(url).layer(3).rows(np.array([200, 1]), view=1), tokens[3][[200, 1]])
    assert verify(url) == []


def more_samples(num_rows: int) -> tuple[list[Sample], tuple[str, ...]]:
    """A larger data set in another order, with a class that sorts before the old ones."""
    classes = ("aardvark", *CLASSES)
    old = [replace(sample, label=sample.label + 1) for sample in make_samples() if sample.label is not None]
    new = [Sample(f"a/{row}.png", 0, "train", sha256="1") for row in range(NUM_ROWS, num_rows)]
    return new + old, classes


def fill_more(url: str, num_rows: int, tokens: dict[int, Tensor]) -> tuple[int, ...]:
    samples, classes = more_samples(num_rows)
    spec = make_spec(identity={"dataset_sha256": dataset_sha256(samples, classes)}, classes=classes)
    with open_writer(url, spec, samples, FROZEN) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                rows = list(range(shard.start, shard.stop))
                out.append(rows, {layer: tokens[layer][rows] for layer in tokens})
        assert [samples[place].key for place in writer.order[NUM_ROWS:]] == [
            f"a/{row}.png" for row in range(203, num_rows)
        ]
        return tuple(writer.order)


def test_rows_are_added_behind_the_old_ones(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens)
    before = stamps(url)
    larger = {layer: torch.cat([tokens[layer], torch.ones(97, 17, 24) * layer]) for layer in tokens}
    order = fill_more(url, 300, larger)
    store = open_store(url)
    assert order[:3] == (97, 98, 99)  # the old rows stand behind the 97 new ones in the source, and first in the store
    assert store.classes == (*CLASSES, "aardvark")
    assert store.labels[NUM_ROWS:].tolist() == [3] * 97
    assert torch.equal(store.layer(3).rows(slice(None)), larger[3])
    kept = {path: stamp for path, stamp in before.items() if not path.endswith("/3/0/0")}  # all but the half-full shard
    assert kept.items() <= stamps(url).items()
    assert verify(url) == []


def test_old_rows_stay_readable_until_the_new_ones_are_there(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens)
    samples, classes = more_samples(300)
    spec = make_spec(identity={"dataset_sha256": dataset_sha256(samples, classes)}, classes=classes)
    with open_writer(url, spec, samples, FROZEN):
        pass
    store = open_store(url)
    assert store.num_missing == 97
    assert torch.equal(store.layer(0).rows(slice(0, NUM_ROWS)), tokens[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "2"}, "dataset: 1 of its 203 rows changed, first 'x/5.png' sha256 0 in the store, 2 asked for"),
        ({"split": "other"}, "'x/5.png' split test in the store, other asked for"),
        ({"key": "y.png"}, "'x/5.png' is in the store, not in the source"),
    ],
)
def test_a_changed_data_set_is_refused(
    url: str, tokens: dict[int, Tensor], change: dict[str, str], message: str
) -> None:
    fill(url, tokens)
    samples = make_samples()
    samples[5] = replace(samples[5], **change)
    spec = make_spec(identity={"dataset_sha256": dataset_sha256(samples, CLASSES)})
    with pytest.raises(IdentityError, match=message), open_writer(url, spec, samples, FROZEN):
        pass


def test_every_difference_is_listed(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens)
    spec = make_spec(identity={"backbone": "large", "compute_dtype": "bfloat16"}, compressor="zstd")
    with pytest.raises(IdentityError) as refusal, open_writer(url, spec, make_samples(), FROZEN):
        pass
    for line in (
        "backbone: tiny in the store, large",
        "compute_dtype: float32 in",
        "compressor: None in the store, zstd",
    ):
        assert line in str(refusal.value)


def test_layers_of_different_shapes(url: str) -> None:
    tokens = {0: make_tokens()[0], 3: torch.randn(NUM_ROWS, 5, 40)}
    small = LayerSpec(num_tokens=5, width=40, num_prefix=0, grid=None)
    fill(url, tokens, make_spec().model_copy(update={"layers": {0: LAYER, 3: small}}))
    assert torch.equal(open_store(url).layer(3).rows(slice(100, 203)), tokens[3][100:])


def grow_classes(url: str, tokens: dict[int, Tensor], stored: tuple[str, ...], new: tuple[str, ...]) -> None:
    """Write a store of some classes, then ask for its rows and one more, whose labels are numbers among `new`."""
    names = [stored[row % len(stored)] for row in range(NUM_ROWS)]
    first = [replace(sample, label=row % len(stored)) for row, sample in enumerate(make_samples())]
    with open_writer(url, of(first, stored), first, FROZEN) as writer:
        for shard in writer.todo:
            with writer.shard(shard) as out:
                rows = list(range(shard.start, shard.stop))
                out.append(rows, {layer: tokens[layer][rows] for layer in tokens})
    number = {unicodedata.normalize("NFC", name): label for label, name in enumerate(new)}
    known = [row % len(stored) for row in range(NUM_ROWS)] if new[: len(stored)] == stored else None
    labels = known or [number[unicodedata.normalize("NFC", name)] for name in names]
    more = [replace(sample, label=label) for sample, label in zip(make_samples(), labels, strict=True)]
    more.append(Sample("z/new.png", len(new) - 1, "train", sha256="1"))
    with open_writer(url, of(more, new), more, FROZEN):
        pass


def of(samples: list[Sample], classes: tuple[str, ...]) -> StoreSpec:
    return make_spec(identity={"dataset_sha256": dataset_sha256(samples, classes)}, classes=classes)


@pytest.mark.parametrize(
    ("stored", "new", "grown"),
    [
        (("caf\u00e9", "bee"), ("ant", "bee", "cafe\u0301"), ("caf\u00e9", "bee", "ant")),
        (("crane", "crane"), ("crane", "crane", "owl"), ("crane", "crane", "owl")),
    ],
)
def test_classes_are_found_by_name_in_any_unicode_form(
    url: str, tokens: dict[int, Tensor], stored: tuple[str, ...], new: tuple[str, ...], grown: tuple[str, ...]
) -> None:
    grow_classes(url, tokens, stored, new)
    store = open_store(url)
    assert store.spec.classes == grown
    labels = store.samples["label"].to_pylist()
    said = [unicodedata.normalize("NFC", grown[label]) for label in labels]
    assert said == [*(stored[row % 2] for row in range(NUM_ROWS)), unicodedata.normalize("NFC", new[-1])]


@pytest.mark.parametrize("new", [("ant", "bee", "crane", "crane"), ("ant", "bee", "cafe\u0301", "caf\u00e9")])
def test_a_name_of_two_classes_is_refused_where_names_must_tell(
    url: str, tokens: dict[int, Tensor], new: tuple[str, ...]
) -> None:
    with pytest.raises(IdentityError, match=f"classes: 2 in the store, 4 asked for, two called '{new[2]}'"):
        grow_classes(url, tokens, ("bee", "ant"), new)


def test_a_name_that_no_file_can_hold_leaves_no_folder(url: str) -> None:
    samples, spec = make_samples(), make_spec()
    odd = [replace(samples[0], key="caf\udce9.png"), *samples[1:]]
    for asked, rows in ((spec.model_copy(update={"source": "folder:caf\udce9"}), samples), (spec, odd)):
        with pytest.raises(UsageError, match="is not in UTF-8"), open_writer(url, asked, rows, FROZEN):
            pass
        assert not Path(url).exists()
