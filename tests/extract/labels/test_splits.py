"""Splits by the names of files and folders: recognised wherever a word stands, and never guessed."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from icecore.extract import open_source
from icecore.extract.labels.splits import file_splits, splits_in
from icecore.store import UsageError

from ..conftest import image_bytes, make_parquet, make_wds


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("imagenet1k-validation-00.tar", "validation"),
        ("birds-test.parquet", "test"),
        ("2023_test.parquet", "test"),
        ("flowers_test", "test"),
        ("split=test", "test"),
        ("split=val", "validation"),
        ("train-00000-of-00005.parquet", "train"),
        ("val2017", "validation"),
        ("VOC2012 trainval", "train"),
        ("testB", "test"),
        ("TestImages", "test"),
        ("HTMLTest", "test"),
        ("birds.EVAL.tar", "test"),
        ("dev", "validation"),
        ("画像test", "test"),
        ("contest", None),
        ("latest", None),
        ("Étest", None),
        ("trains", None),
        ("0000", None),
    ],
)
def test_a_word_between_separators_is_a_split(name: str, split: str | None) -> None:
    assert splits_in(name) == ([split] if split else [])


def test_files_are_of_the_split_in_their_name_or_their_folder() -> None:
    files = [PurePosixPath(name) for name in ("a/birds-train-0", "split=test/0", "val/val-1")]
    assert file_splits(files, "x") == ["train", "test", "validation"]
    assert file_splits([PurePosixPath("0"), PurePosixPath("a/1")], "x") == ["train", "train"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["2023_test", "2023"], "x: '2023' names no split where '2023_test' names 'test'; expected one split's word"),
        (["test/train-0"], "x: 'test/train-0' names the split 'test' and 'train' too"),
        (["test_of_the_training"], "names the split 'test' and 'train' too"),
    ],
)
def test_files_that_contradict_each_other_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        file_splits([PurePosixPath(name) for name in names], "x")


@pytest.mark.parametrize("name", ["birds-{split}-{part}", "split={split}/{part}", "{part}_{split}"])
@pytest.mark.parametrize("maker", [make_parquet, make_wds])
def test_shards_by_any_name_are_in_their_splits(maker: Callable[[Path], str], name: str, tmp_path: Path) -> None:
    def splits(root: Path) -> dict[bytes, str]:
        source = open_source(str(root))
        return {source.read(row): sample.split for row, sample in enumerate(source.samples)}

    maker(tmp_path / "plain")
    plain = splits(tmp_path / "plain")
    for file in (tmp_path / "plain").iterdir():
        split, _, part = file.stem.partition("-")
        path = tmp_path / "set" / (name.format(split=split, part=part) + file.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.rename(path)
    assert splits(tmp_path / "set") == plain
    assert set(plain.values()) == {"train", "test"}


def images(root: Path, *files: str) -> str:
    for seed, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(image_bytes(seed))
    return f"folder:{root}"


@pytest.mark.parametrize("split", ["test", "flowers_test", "split=test", "seg_test/seg_test", "test2017"])
def test_folders_of_a_split_by_any_name(split: str, tmp_path: Path) -> None:
    text = images(tmp_path, f"{split.replace('test', 'train')}/ant/0.jpg", f"{split}/bee/1.jpg", f"{split}/train/2.jpg")
    source = open_source(text)
    assert source.classes == ("ant", "bee", "train")
    assert {s.key: s.split for s in source.samples} == {
        f"{split.replace('test', 'train')}/ant/0.jpg": "train",
        f"{split}/bee/1.jpg": "test",
        f"{split}/train/2.jpg": "test",
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["flowers_test/ant/0.jpg", "flowers/ant/1.jpg"], "'flowers' is no split, but its neighbours are"),
        (["ant/0.jpg", "bee/1.jpg", "test/2.jpg"], r"'ant' is no split, but its neighbours are \('test'\)"),
        (["ant/train/0.jpg", "ant/test/1.jpg"], "'ant/test/1.jpg' would be in split 'train', and lies in 'test'"),
        (["train/ant/split=val/0.jpg"], "would be in split 'train', and lies in 'split=val'"),
        (["train_test/ant/0.jpg", "test/ant/0.jpg"], "'train_test' names the split 'train' and 'test' too"),
        (["train_images/0.jpg", "test_images/1.jpg"], "'test_images/1.jpg' is in no class"),
    ],
)
def test_folders_that_would_train_on_test_images_are_refused(files: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(images(tmp_path, *files))


def test_a_class_may_be_called_after_a_train_among_classes(tmp_path: Path) -> None:
    source = open_source(images(tmp_path, "bullet_train/0.jpg", "train/1.jpg", "plane/2.jpg"))
    assert source.classes == ("bullet_train", "plane", "train")
