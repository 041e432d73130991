"""Every source: one fixed order, unique keys, splits, random access from threads, and clear errors."""

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from icecore.extract import SOURCES, open_source
from icecore.extract.rows.scan import scan
from icecore.store import IcecoreError, UsageError

from ..conftest import CLASSES, MAKERS, add_member, image_bytes, make_csv, make_folder, make_parquet, make_wds


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_opened_twice_is_the_same(kind: str, tmp_path: Path) -> None:
    text = MAKERS[kind](tmp_path)
    first, second = open_source(text), open_source(text)
    rows = range(len(first.samples))
    assert first.kind == kind
    assert scan(first, rows) == scan(second, rows, num_threads=1)
    assert len({sample.key for sample in first.samples}) == len(first.samples)
    assert all(0 <= sample.label < len(first.classes) for sample in first.samples if sample.label is not None)
    assert {sample.split for sample in first.samples} in ({"train", "test"}, {"train", "validation"})


@pytest.mark.parametrize("kind", SOURCES)
def test_rows_read_in_any_order_from_threads_are_the_rows_read_alone(kind: str, tmp_path: Path) -> None:
    source = open_source(MAKERS[kind](tmp_path))
    rows = list(range(min(len(source.samples), 100))) * 3
    alone = [source.read(row) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(source.read, reversed(rows))) == alone[::-1]
    image = source.decode(alone[0])
    assert image.mode == "RGB"


@pytest.mark.parametrize("kind", ["folder", "parquet", "wds", "csv", "imagefolder"])
def test_a_source_holds_the_images_it_was_made_of(kind: str, tmp_path: Path) -> None:
    source = open_source(MAKERS[kind](tmp_path))
    wanted = {image_bytes(seed, "PNG" if kind == "wds" else "JPEG"): seed for seed in range(23)}
    seeds = {wanted[source.read(row)]: sample.label for row, sample in enumerate(source.samples)}
    assert seeds == {seed: seed % 3 for seed in range(23)}
    assert source.classes == (("0", "1", "2") if kind == "wds" else CLASSES)


@pytest.mark.parametrize("kind", ["folder", "parquet", "wds", "csv", "imagefolder"])
def test_a_bare_path_is_of_the_kind_that_is_there(kind: str, tmp_path: Path) -> None:
    path = MAKERS[kind](tmp_path).partition(":")[2]
    assert open_source(path).kind == kind


def test_scan_tells_sizes_and_digests(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path))
    sample = scan(source, [0]).samples[0]
    assert (sample.key, sample.width, sample.height) == ("test/ant/000.jpg", 30, 20)
    assert len(sample.sha256) == 64


def test_keys_and_groups_of_each_kind(tmp_path: Path) -> None:
    assert open_source(make_folder(tmp_path / "f")).samples[-1].key == "train/cow/017.jpg"
    assert open_source(make_parquet(tmp_path / "p")).samples[0].key == "test-00000-of-00001/000000-1.jpg"
    assert open_source(make_wds(tmp_path / "w")).samples[0].key == "test/000"
    first = open_source(make_csv(tmp_path / "c")).samples[0]
    assert (first.key, first.group, first.split) == ("images/001.jpg", "g0", "train")


def test_digits_keep_a_fifth_of_each_class_for_the_test() -> None:
    source = open_source("sklearn:digits")
    assert len(source.samples) == 1797
    for label in range(10):
        splits = [sample.split for sample in source.samples if sample.label == label]
        assert splits.count("test") == len(splits) // 5
    assert source.decode(source.read(0)).size == (8, 8)


def test_a_folder_without_split_folders_is_all_train(tmp_path: Path) -> None:
    for name in ("train", "plane"):  # one name of a split among others is a class
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(image_bytes(0))
    source = open_source(f"folder:{tmp_path}")
    assert source.classes == ("plane", "train")
    assert {sample.split for sample in source.samples} == {"train"}


def test_parquet_without_class_names_names_classes_by_their_labels(tmp_path: Path) -> None:
    assert open_source(make_parquet(tmp_path, names=False)).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere", "'nowhere': no such file or folder; expected KIND:PATH, kinds: folder, parquet"),
        ("folders:x", r"unknown source kind 'folders' .did you mean 'folder'\?.; choices: folder, parquet"),
        ("folder:nowhere", "folder 'nowhere': no such folder; expected a folder for each class"),
        ("parquet:nowhere", "parquet 'nowhere': no such file or folder"),
        ("wds:nowhere", "wds 'nowhere': no such file or folder"),
        ("csv:nowhere", "csv 'nowhere': no such file"),
        ("timm:tfds/mnist", "timm 'tfds/mnist': tfds/ is read in order only, .* export it as WebDataset and use wds:"),
        ("timm:torch/mnist:nowhere", "timm 'torch/mnist:nowhere': Dataset not found"),
        ("timm:torch/mist", "Unknown torchvision dataset mist; expected timm:PATH of images"),
        ("timm:nowhere", "timm 'nowhere': no such file or folder; expected timm:PATH of images"),
        ("sklearn:digit", r"unknown scikit-learn data set 'digit' .did you mean 'digits'\?"),
    ],
)
def test_a_wrong_source_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(text)


def test_timm_reads_a_folder_and_torchvisions_sets(tmp_path: Path) -> None:
    folder = open_source("timm:" + make_folder(tmp_path / "f").partition(":")[2])
    assert (folder.samples[0].key, folder.classes) == ("train/000000-003.jpg", CLASSES)
    assert {sample.split for sample in folder.samples} == {"train", "test"}
    raw = tmp_path / "t" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, num_rows in (("train", 7), ("t10k", 3)):
        pixels = np.random.default_rng(0).integers(0, 256, (num_rows, 28, 28), dtype=np.uint8)
        head = np.array([2051, num_rows, 28, 28], ">i4").tobytes()
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        labels = np.arange(num_rows, dtype=np.uint8)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(np.array([2049, num_rows], ">i4").tobytes() + labels.tobytes())
    mnist = open_source(f"timm:torch/mnist:{tmp_path / 't'}")
    assert [sample.label for sample in mnist.samples] == [*range(7), *range(3)]
    assert mnist.samples[9].key == "test/000002"
    assert np.array_equal(np.asarray(mnist.decode(mnist.read(9)))[..., 1], pixels[2])


def test_timm_reads_what_hugging_face_wrote(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    images = [Image.open(io.BytesIO(image_bytes(row, "PNG"))) for row in range(8)]
    for split, rows in (("train", range(3)), ("dev", range(3, 5)), ("test", range(5, 7)), ("holdout", range(7, 8))):
        columns = {"image": [images[row] for row in rows], "label": [row % len(CLASSES) for row in rows]}
        table = datasets.Dataset.from_dict(columns, features=features)
        (tmp_path / "set" / "data").mkdir(parents=True, exist_ok=True)
        table.to_parquet(tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet")
    found = open_source(f"timm:hfds/{tmp_path / 'set'}:{tmp_path / 'cache'}")
    assert found.classes == CLASSES
    assert [sample.key for sample in found.samples][-3:] == ["test/000000", "test/000001", "holdout/000000"]
    assert [sample.split for sample in found.samples][2:4] == ["train", "validation"]
    assert [sample.label for sample in found.samples] == [row % len(CLASSES) for row in range(8)]
    for row, image in enumerate(images):
        assert np.array_equal(np.asarray(found.decode(found.read(row))), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["folder", "parquet", "wds"])
def test_an_empty_folder_is_no_source(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{kind} .*holds no .*expected"):
        open_source(f"{kind}:{tmp_path}")
    with pytest.raises(UsageError, match="looks like no kind of source, or holds no image"):
        open_source(str(tmp_path))


def test_an_image_in_no_class_is_refused(tmp_path: Path) -> None:
    text = make_folder(tmp_path)
    (tmp_path / "train" / "lost.jpg").write_bytes(image_bytes(0))
    with pytest.raises(UsageError, match=r"'train/lost.jpg' is in no class"):
        open_source(text)


def test_a_folder_beside_the_splits_is_refused(tmp_path: Path) -> None:
    text = make_folder(tmp_path)
    (tmp_path / "more" / "ant").mkdir(parents=True)
    assert open_source(text).tally.passed_over[0].what == "folders without an image"
    (tmp_path / "more" / "ant" / "x.jpg").write_bytes(image_bytes(0))
    with pytest.raises(UsageError, match=r"'more' is no split, but its neighbours are \('test'\)"):
        open_source(text)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("path,label\nx.jpg,a\n", "no column 'split' among"),
        ("path,label,split\n", "lists no images"),
        ("path,label,split\n../x.jpg,a,train\n", r"line 2: path '../x.jpg'; expected one relative to the manifest"),
        ("path,label,split\n/x.jpg,a,train\n", "line 2: path '/x.jpg'"),
        ("path,label,split\nx.jpg,a,train\nx.jpg,a,test\n", "line 3: 'x.jpg' is listed twice, first in line 2"),
        ("path,label,split\nx.jpg,a\n", "line 2: has another number of fields"),
        ("path,label,split\nx.jpg,a,\n", "line 2: no split"),
    ],
)
def test_a_malformed_manifest_is_refused(lines: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(lines)
    with pytest.raises(UsageError, match=message):
        open_source(f"csv:{tmp_path / 'list.csv'}")


def test_a_row_without_label_has_none_and_numbers_sort_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label,split\na.jpg,10,train\nb.jpg,9,train\nc.jpg,,test\n")
    source = open_source(f"csv:{tmp_path / 'list.csv'}")
    assert source.classes == ("9", "10")
    assert [sample.label for sample in source.samples] == [None, 1, 0]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["../x.png", "../x.cls"], "leads out of the archive"),
        (["/x.png", "/x.cls"], "leads out of the archive"),
        (["x.png"], "key 'x' has no .cls member"),
        (["x.cls"], "key 'x' has no image member"),
        (["x.png", "x.jpg", "x.cls"], "is a second image of its key"),
        (["x.txt"], "its shards hold no images"),
    ],
)
def test_a_malformed_shard_is_refused(members: list[str], message: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for name in members:
            add_member(tar, name, b"0")
    with pytest.raises(UsageError, match=message):
        open_source(f"wds:{tmp_path}")


def test_a_link_in_a_shard_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        link = tarfile.TarInfo("x.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(UsageError, match="leads out of the archive or is no plain file"):
        open_source(f"wds:{tmp_path}")


def test_a_class_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        add_member(tar, "x.png", b"")
        add_member(tar, "x.cls", b"-1")
    with pytest.raises(UsageError, match=r"x.cls holds '-1'; expected a class number"):
        open_source(f"wds:{tmp_path}")


def test_files_of_which_only_some_name_a_split_are_refused(tmp_path: Path) -> None:
    make_parquet(tmp_path)
    (tmp_path / "test-00000-of-00001.parquet").rename(tmp_path / "more.parquet")
    with pytest.raises(UsageError, match="'more' names no split where 'train-00000-of-00001' names 'train'"):
        open_source(f"parquet:{tmp_path}")


def test_a_data_set_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label,split\nx.jpg,a,train\n")
    source = open_source(f"csv:{tmp_path / 'list.csv'}")
    with pytest.raises(IcecoreError, match=r"none of the 1 images can be read, first 'x.jpg'"):
        scan(source, [0])


@pytest.mark.parametrize(
    ("name", "splits", "num_classes"),
    [
        ("caltech101", {"train": 1010, "test": 1010}, 101),
        ("pacs-sketch", {"train": 1001, "test": 1001}, 7),
        ("gtsrb", {"train": 935, "test": 907}, 43),
        ("rsscn7/manifest.csv", {"train": 1001, "test": 1001}, 7),
    ],
)
def test_real_data_sets(name: str, splits: dict[str, int], num_classes: int, shared: Path) -> None:
    source = open_source(str(shared / "data" / name))
    found = [sample.split for sample in source.samples]
    assert {split: found.count(split) for split in set(found)} == splits
    assert len(source.classes) == num_classes
    assert min(source.decode(source.read(row)).size[0] for row in (0, 500, len(found) - 1)) >= 25


def test_parquet_images_may_be_plain_bytes(tmp_path: Path) -> None:
    columns = {"image": [image_bytes(row) for row in range(4)], "label": ["bee", "ant", "ant", "bee"]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    source = open_source(f"parquet:{tmp_path}")
    assert [source.classes[sample.label or 0] for sample in source.samples] == columns["label"]
    assert [source.read(row) for row in range(4)] == columns["image"]
    pq.write_table(pa.table({"label": [0, 1]}), tmp_path / "train.parquet")
    with pytest.raises(UsageError, match="none of them of images"):
        open_source(f"parquet:{tmp_path}")
