"""Layouts of public data sets in miniature: each is read whole, and says what it leaves out."""

import csv
import json
import tarfile
import unicodedata
from pathlib import Path

import pytest

from icecore.extract import Source, open_source
from icecore.extract.labels.columns import Columns
from icecore.extract.rows.source_report import source_report
from icecore.store import UsageError

from ..conftest import add_member, image_bytes


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def said(source: Source) -> dict[str, tuple[str | None, str]]:
    return {s.key: (None if s.label is None else source.classes[s.label], s.split) for s in source.samples}


def counts(source: Source, kind: str) -> dict[str, int]:
    return {found.what: found.count for found in getattr(source_report(source.tally, [], ()), kind)}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_hugging_face_imagefolder_with_metadata(ending: str, tmp_path: Path) -> None:
    for split, names in (("train", ("ant", "bee", "ant")), ("test", ("bee",))):
        rows = [{"file_name": f"deep/{number}.jpg", "label": name, "note": "a, b"} for number, name in enumerate(names)]
        for number in range(len(names)):
            put(tmp_path / split / "deep" / f"{number}.jpg", image_bytes(number))
        if ending == "jsonl":
            put(tmp_path / split / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
            continue
        with (tmp_path / split / "metadata.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    put(tmp_path / "train" / "extra.png", image_bytes(9, "PNG"))
    source = open_source(str(tmp_path))
    assert source.kind == "imagefolder"
    assert said(source) == {
        "test/deep/0.jpg": ("bee", "test"),
        "train/deep/0.jpg": ("ant", "train"),
        "train/deep/1.jpg": ("bee", "train"),
        "train/deep/2.jpg": ("ant", "train"),
    }
    assert [source.read(row) for row in range(4)] == [image_bytes(seed) for seed in (0, 0, 1, 2)]
    assert counts(source, "passed_over") == {"images that no metadata lists": 1}


def test_one_metadata_file_for_the_folders_of_the_splits(tmp_path: Path) -> None:
    put(tmp_path / "metadata.csv", "file_name,kind\ntrain/0.jpg,ant\nval/1.jpg,bee\n")
    for name in ("train/0.jpg", "val/1.jpg"):
        put(tmp_path / name, image_bytes(0))
    with pytest.raises(UsageError, match="no column 'label' among"):
        open_source(str(tmp_path))
    source = open_source(str(tmp_path), Columns(("kind",)))
    assert said(source) == {"train/0.jpg": ("ant", "train"), "val/1.jpg": ("bee", "validation")}


def shard(path: Path, *members: tuple[str, bytes | str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            add_member(tar, name, data.encode() if isinstance(data, str) else data)


def test_img2dataset(tmp_path: Path) -> None:
    for number in range(2):
        members = []
        for row in range(3):
            fields = {"caption": f"a {row}", "label": "cat" if row else "dog", "key": f"{row:09d}", "status": "success"}
            members += [(f"{row:09d}.jpg", image_bytes(3 * number + row)), (f"{row:09d}.txt", f"a {row}")]
            members += [(f"{row:09d}.json", json.dumps(fields))]
        shard(tmp_path / f"{number:05d}.tar", *members)
        put(tmp_path / f"{number:05d}_stats.json", "{}")
    (tmp_path / "00000.parquet.crc").touch()
    source = open_source(f"wds:{tmp_path}", Columns(("label",)))
    assert said(source) == {
        f"train/{number:05d}/{row:09d}": ("cat" if row else "dog", "train") for number in range(2) for row in range(3)
    }
    assert [source.read(row) for row in range(6)] == [image_bytes(seed) for seed in range(6)]
    assert counts(source, "passed_over") == {
        "files ending in .txt": 6,
        "files ending in .json": 2,
        "files ending in .crc": 1,
    }


def test_clip_benchmark(tmp_path: Path) -> None:
    for split, rows in (("train", range(5)), ("test", range(5, 8))):
        members = [
            (f"s{row:07d}.{end}", data)
            for row in rows
            for end, data in (("cls", str(row % 2)), ("webp", image_bytes(row)))
        ]
        shard(tmp_path / split / "0.tar", *members)
        put(tmp_path / split / "nshards.txt", "1")
    put(tmp_path / "classnames.txt", "cat\ndog\n")
    put(tmp_path / "zeroshot_classification_templates.txt", "a photo of {c}")
    source = open_source(str(tmp_path))
    wanted = {
        f"{'train' if row < 5 else 'test'}/s{row:07d}": ("dog" if row % 2 else "cat", "train" if row < 5 else "test")
        for row in range(8)
    }
    assert said(source) == wanted
    assert counts(source, "passed_over") == {"files ending in .txt": 3}
    assert counts(source, "noted") == {"classes called as classnames.txt says": 2}


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("\ufeffcat\r\ndog\r\n\n", ("cat", "dog")),
        ("crane\nox\ncrane", ("crane (0)", "ox", "crane (2)")),
        ("cat\n", "b.cls has 1 in column .cls.; expected one of 1 classes"),
        ("cat\n\ndog", "line 2: is empty"),
    ],
)
def test_names_of_classes_beside_shards(names: str, classes: tuple[str, ...] | str, tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", ("a.jpg", image_bytes(0)), ("a.cls", "0"), ("b.jpg", image_bytes(1)), ("b.cls", "1"))
    put(tmp_path / "classnames.txt", names)
    if isinstance(classes, str):
        with pytest.raises(UsageError, match=classes):
            open_source(f"wds:{tmp_path}")
    else:
        assert open_source(f"wds:{tmp_path}").classes == classes


def test_kaggle_csv(tmp_path: Path) -> None:
    ids = ["000c1434d8d7", "001639a390f0", "0024cdab0c1e"]
    for number, name in enumerate(ids):
        put(tmp_path / "train_images" / f"{name}.png", image_bytes(number, "PNG"))
    put(tmp_path / "test_images" / "ffe0.png", image_bytes(9, "PNG"))
    put(
        tmp_path / "train.csv", "id_code,diagnosis\n" + "".join(f"{name},{number}\n" for number, name in enumerate(ids))
    )
    put(tmp_path / "sample_submission.csv", "id_code,diagnosis\nffe0,0\n")
    source = open_source(str(tmp_path / "train.csv"), Columns(("diagnosis",), path="id_code"))
    assert said(source) == {f"train_images/{name}.png": (str(number), "train") for number, name in enumerate(ids)}
    assert counts(source, "noted") == {"paths that lacked a folder or an ending, completed": 3}


def timm_folder(root: Path, *files: str) -> Source:
    for seed, file in enumerate(files):
        put(root / file, image_bytes(seed, "PNG"))
    return open_source(f"timm:{root}")


def test_timm_numbers_classes_by_name_over_all_splits(tmp_path: Path) -> None:
    files = [
        "train/ant/0.png",
        "train/bee/1.png",
        "train/cow/2.png",
        "test/bee/3.png",
        "test/cow/4.png",
        "val/dog/5.png",
    ]
    source = timm_folder(tmp_path, *files)
    names = {source.read(row): source.classes[sample.label or 0] for row, sample in enumerate(source.samples)}
    assert names == {image_bytes(seed, "PNG"): file.split("/")[1] for seed, file in enumerate(files)}
    assert source.classes[:3] == ("ant", "bee", "cow")
    assert [sample.split for sample in source.samples] == ["train"] * 3 + ["validation"] + ["test"] * 2


def test_timm_reads_folders_of_splits_by_any_name_and_tells_what_it_does_not_read(tmp_path: Path) -> None:
    composed, split_up = unicodedata.normalize("NFC", "bée"), unicodedata.normalize("NFD", "bée")
    files = [f"birds_train/{composed}/0.png", f"birds_test/{split_up}/1.png", "birds_test/.ipynb_checkpoints/2.png"]
    source = timm_folder(tmp_path, *files, "birds_train/ant/3.webp", "birds_train/ant/4.png")
    assert {(source.classes[s.label or 0], s.split) for s in source.samples} == {
        (composed, "train"),
        (composed, "test"),
        ("ant", "train"),
    }
    assert counts(source, "passed_over") == {
        "hidden or system files": 1,
        "images ending in .webp, which timm does not read": 1,
    }
    put(tmp_path / "birds" / "ant" / "5.png", image_bytes(5, "PNG"))
    with pytest.raises(UsageError, match="'birds' is no split, but its neighbours are"):
        open_source(f"timm:{tmp_path}")
