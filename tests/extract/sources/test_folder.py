"""What lies in folders of images: followed, left out and counted, or refused."""

import os
import unicodedata
from pathlib import Path

import pytest

from icecore.extract import Source, open_source
from icecore.extract.rows.source_report import source_report
from icecore.store import IcecoreError

from ..conftest import image_bytes, make_folder


def passed(source: Source) -> dict[str, tuple[int, str]]:
    report = source_report(source.tally, source.samples, source.classes)
    return {found.what: (found.count, found.example) for found in report.passed_over}


def put(root: Path, *files: str) -> None:
    for seed, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(image_bytes(seed))


def test_what_is_hidden_or_no_image_is_left_out_and_counted(tmp_path: Path) -> None:
    plain = open_source(make_folder(tmp_path))
    junk = [
        ".DS_Store",
        "train/Thumbs.db",
        "train/ant/.ipynb_checkpoints/003-checkpoint.jpg",
        "__MACOSX/train/ant/._003.jpg",
        "test/@eaDir/000.jpg/thumb.jpg",
        "annotations/deep/0.xml",
        "train/ant/IMG_1.HEIC",
        "train/ant/IMG_2.heic",
        "train/bee/readme",
        "banner.png",
    ]
    put(tmp_path, *junk)
    (tmp_path / "train" / "empty").mkdir()
    source = open_source(str(tmp_path))
    assert (source.samples, source.classes) == (plain.samples, plain.classes)
    assert passed(source) == {
        "hidden or system files": (5, ".DS_Store"),
        "folders without an image": (2, "annotations"),
        "files ending in .heic": (2, "train/ant/IMG_1.HEIC"),
        "files ending in .xml": (1, "annotations/deep/0.xml"),
        "files without a known ending": (1, "train/bee/readme"),
        "images beside the folders of the splits": (1, "banner.png"),
    }


def test_linked_folders_are_followed_and_circles_counted(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a.png", "deep/b.png")
    put(tmp_path / "set", "ant/0.png", "bee/1.png")
    (tmp_path / "set" / "ant" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "cow").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "bee" / "round").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "deep" / "up").symlink_to(tmp_path / "elsewhere")
    source = open_source(f"folder:{tmp_path / 'set'}")
    keys = ["ant/0.png", "ant/linked/a.png", "ant/linked/deep/b.png", "bee/1.png", "cow/a.png", "cow/deep/b.png"]
    assert [sample.key for sample in source.samples] == keys
    assert [source.classes[sample.label or 0] for sample in source.samples] == ["ant"] * 3 + ["bee"] + ["cow"] * 2
    assert passed(source) == {"linked folders that lead back to a folder above them": (3, "ant/linked/deep/up")}


def test_two_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    composed, split_up = unicodedata.normalize("NFC", "bée"), unicodedata.normalize("NFD", "bée")
    put(tmp_path, f"train/{composed}/0.png", f"test/{split_up}/1.png", "train/cow/2.png")
    source = open_source(str(tmp_path))
    assert source.classes == (composed, "cow")
    assert [sample.label for sample in source.samples] == [0, 0, 1]
    (noted,) = source_report(source.tally, [], ()).noted
    assert (noted.count, noted.example) == (2, composed)
    put(tmp_path / "alone", f"{split_up}/0.png", "cow/1.png")
    assert open_source(f"folder:{tmp_path / 'alone'}").classes == (split_up, "cow")


def test_a_name_that_is_not_utf_8_has_a_key_and_its_bytes(tmp_path: Path) -> None:
    put(tmp_path, "ant/0.png", "bee/1.png")
    (tmp_path / "ant" / "0.png").rename(os.fsdecode(bytes(tmp_path) + b"/ant/caf\xe9.png"))
    (tmp_path / "bee").rename(os.fsdecode(bytes(tmp_path) + b"/b\xe9e"))
    source = open_source(str(tmp_path))
    assert [sample.key for sample in source.samples] == ["ant/caf%E9.png", "b%E9e/1.png"]
    assert source.classes == ("ant", "b%E9e")
    assert [source.read(row) for row in (0, 1)] == [image_bytes(0), image_bytes(1)]


def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "ant/0.png", "bee/1.png")

    def refuse(path: Path) -> object:
        if Path(path).name == "bee":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(IcecoreError, match=r"bee: cannot be listed \(Permission denied\)"):
        open_source(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("root", "files", "what"),
    [
        ("test", ("a/0.png", "b/1.png"), "rows of train in a folder called 'test'"),
        ("set", ("train/images/a/0.png", "val/images/b/1.png"), "images in folders below 'images', the only class"),
        ("set", ("images/a/0.png", "images/b/1.png"), "images in folders below 'images', the only class"),
    ],
)
def test_what_may_not_be_meant_is_told(root: str, files: tuple[str, ...], what: str, tmp_path: Path) -> None:
    for seed, file in enumerate(files):
        path = tmp_path / root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(seed, "PNG"))
    noted = open_source(f"folder:{tmp_path / root}").tally.noted
    assert [(one.what, one.count) for one in noted] == [(what, 2)]
