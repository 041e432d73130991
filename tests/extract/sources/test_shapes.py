"""Drawn images: the same bytes for ever, what the labels say is in the picture, both tasks in both splits."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from icecore.extract import open_source
from icecore.store import UsageError


def pixels(task: str, row: int) -> np.ndarray:
    source = open_source(f"shapes:{task}:100")
    return np.asarray(source.decode(source.read(row)))


def num_regions(mask: np.ndarray) -> int:
    """Count the regions of a mask that touch by edges or corners."""
    todo, regions = set(zip(*np.nonzero(mask), strict=True)), 0
    while todo:
        regions, front = regions + 1, [todo.pop()]
        while front:
            y, x = front.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & todo
            todo -= near
            front.extend(near)
    return regions


@pytest.mark.parametrize(("task", "digest"), [("count", "66657db579d3c579"), ("place", "a9bdbc4afe0323d5")])
def test_the_bytes_never_change(task: str, digest: str) -> None:
    source = open_source(f"shapes:{task}:100")
    assert hashlib.sha256(b"".join(map(source.read, range(100)))).hexdigest()[:16] == digest


@pytest.mark.parametrize("row", range(30))
def test_the_label_is_the_number_of_shapes(row: int) -> None:
    assert num_regions(pixels("count", row).max(axis=2) >= 140) == row % 6 + 1


@pytest.mark.parametrize("row", range(32))
def test_the_label_is_the_quarter_of_the_shape(row: int) -> None:
    mask = pixels("place", row).max(axis=2) >= 140
    quarters = [mask[y : y + 32, x : x + 32].sum() for y in (0, 32) for x in (0, 32)]
    assert np.argmax(quarters) == row % 4
    assert mask.sum() >= 30


@pytest.mark.parametrize(("task", "num_classes"), [("count", 6), ("place", 16)])
def test_every_class_is_in_both_splits(task: str, num_classes: int) -> None:
    source = open_source(f"shapes:{task}")
    counts = Counter((sample.split, sample.label) for sample in source.samples)
    assert (len(source.samples), len(source.classes), len(counts)) == (1000, num_classes, 2 * num_classes)
    assert sum(num for (split, _), num in counts.items() if split == "test") == 200


def test_more_images_begin_with_the_same() -> None:
    few, more = open_source("shapes:place:50"), open_source("shapes:place:70")
    assert few.samples == more.samples[:50]
    assert [few.read(row) for row in range(50)] == [more.read(row) for row in range(50)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shapes:counts", r"unknown shapes task 'counts' .did you mean 'count'\?"),
        ("shapes:count:0", r"source 'shapes:count:0': '0' is no number of images; expected 1 to 1000000"),
        ("shapes:count:", r"'' is no number of images"),
        ("shapes:count:many", r"'many' is no number of images"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(text)
