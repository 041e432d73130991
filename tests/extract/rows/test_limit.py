"""`--limit` takes a small data set that looks like the whole: splits and classes in proportion, from every source."""

from collections import Counter
from pathlib import Path

import pytest

from icecore.extract import ExtractSettings, extract, open_source, preparation
from icecore.extract.preparation import _limited
from icecore.extract.rows.proportion import in_proportion
from icecore.store import Sample, open_store

from ..conftest import BACKBONE, MAKERS, make_folder

NO_STORE = "memory://no.ice"


def chosen(samples: list[Sample], limit: int) -> list[Sample]:
    return [samples[place] for place in _limited(samples, limit, NO_STORE)]


@pytest.mark.parametrize("kind", MAKERS)
def test_every_split_and_class_of_every_source_is_there_in_proportion(kind: str, tmp_path: Path) -> None:
    samples = list(open_source(MAKERS[kind](tmp_path / kind)).samples)
    splits = Counter(sample.split for sample in samples)
    before: set[str] = set()
    for limit in (limit for limit in (2, 7, 16, 22, 50, 101, 199) if limit < len(samples)):
        some = chosen(samples, limit)
        found = Counter(sample.split for sample in some)
        assert len(some) == limit
        assert found.keys() == splits.keys()
        for split, count in splits.items():
            assert abs(found[split] - limit * count / len(samples)) <= 1
            labels = Counter(sample.label for sample in samples if sample.split == split)
            kept = Counter(sample.label for sample in some if sample.split == split)
            assert len(kept) == min(len(labels), found[split])
            if found[split] >= 2 * len(labels):
                for label, number in labels.items():
                    assert abs(kept[label] - found[split] * number / count) <= 2
        keys = {sample.key for sample in some}
        assert before <= keys  # a store of a small limit can grow into one of a larger
        before = keys


@pytest.mark.parametrize("period", [2, 5, 10, 64])
def test_an_order_that_repeats_falls_in_with_no_limit(period: int) -> None:
    """What the samples do not tell (here the last digit of their number) is spread as by chance."""
    samples = [Sample(f"{number:05d}", 0, "train") for number in range(1920)]
    for limit in (1920 // period, 960 // period + 48):
        kinds = Counter(int(sample.key) % period for sample in chosen(samples, limit))
        assert max(kinds.values()) <= 4 * limit / period + 8


def test_a_rare_class_keeps_a_row_and_a_rare_split_too() -> None:
    samples = [Sample(f"{n:04d}", int(n >= 995), "validation" if n in (7, 996) else "train") for n in range(1000)]
    for limit in (4, 10, 500):
        found = Counter((sample.split, sample.label) for sample in chosen(samples, limit))
        assert found["train", 1] >= 1
        assert found["validation", 0] + found["validation", 1] >= 1


def test_merged_groups_have_their_share_of_every_prefix() -> None:
    groups = [list(range(100)), list(range(100, 150)), [150]]
    merged = in_proportion(groups)
    assert sorted(merged) == list(range(151))
    assert merged[:3] == [0, 100, 150]
    for length in range(10, 151, 7):
        found = Counter("abc"[(place >= 100) + (place == 150)] for place in merged[:length])
        assert abs(found["a"] - length * 100 / 151) <= 1.5
        assert abs(found["b"] - length * 50 / 151) <= 1.5


def test_a_store_keeps_its_rows_however_they_were_chosen_and_splits_are_moved_first(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ExtractSettings(
        backbone=BACKBONE,
        checkpoint=checkpoint,
        layers="0",
        tokens="cls",
        limit=6,
        device="cpu",
        split=("validation=train:40%",),
    )
    source, store = make_folder(tmp_path / "images"), str(tmp_path / "s.ice")
    with monkeypatch.context() as patched:
        patched.setattr(preparation, "_limited", lambda *_: [0, 4, 8, 12, 16, 20])  # as it once was
        extract(source, store, settings)
    before = open_store(store).samples["key"].to_pylist()
    assert extract(source, store, settings).num_skipped == 6
    extract(source, store, settings.model_copy(update={"limit": 15}))
    grown = open_store(store)
    assert grown.samples["key"].to_pylist()[:6] == before
    assert grown.splits.keys() == {"train", "validation", "test"}
