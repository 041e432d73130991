"""Tar shards as several tools write them: every image and every label is there, or the shard is refused."""

import bz2
import gzip
import json
import tarfile
from pathlib import Path

import pytest

from icecore.extract import Source, open_source
from icecore.extract.labels.columns import Columns
from icecore.store import UsageError

from ..conftest import add_member, image_bytes, make_wds


def make_shard(path: Path, *members: tuple[str, bytes]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            add_member(tar, name, data)
    return f"wds:{path.parent}"


def said(source: Source) -> dict[str, str]:
    """Return the name of every row's class, by key."""
    return {s.key: source.classes[s.label] for s in source.samples if s.label is not None}


def passed(source: Source) -> dict[str, int]:
    return {found.what: found.count for found in source.tally.passed_over}


def test_keys_with_dots_keep_every_row_and_its_own_label(tmp_path: Path) -> None:
    members = []
    for number in range(9):
        for ending, data in ((".jpg", image_bytes(number)), (".cls", str(number % 3).encode())):
            members.append((f"v1.0/img.{number // 3}.{number}{ending}", data))
    source = open_source(make_shard(tmp_path / "train.tar", *members))
    assert said(source) == {f"train/v1.0/img.{n // 3}.{n}": str(n % 3) for n in range(9)}
    assert [source.read(row) for row in range(9)] == [image_bytes(n) for n in range(9)]


def test_more_members_of_a_key_are_counted(tmp_path: Path) -> None:
    members = [("x.jpg", b"1"), ("x.seg.png", b"2"), ("x.txt", b"a cat"), ("x.json", b"{}"), ("x.cls", b"0")]
    members += [("._x.jpg", b"3"), ("__MACOSX/x.jpg", b"4")]
    source = open_source(make_shard(tmp_path / "train.tar", *members))
    assert [sample.key for sample in source.samples] == ["train/x"]
    assert passed(source) == {"further members of a key": 1, "files ending in .txt": 1, "hidden or system files": 2}


def test_keys_that_begin_anew_in_each_shard_have_its_name(tmp_path: Path) -> None:
    for shard in ("00000", "00001", "a/00000"):
        members = [(f"{n:03d}.{end}", f"{shard}{n}".encode()) for n in range(3) for end in ("jpg", "txt")]
        members += [(f"{n:03d}.json", json.dumps({"label": f"{shard}-{n}"}).encode()) for n in range(3)]
        text = make_shard(tmp_path / "set" / f"{shard}.tar", *members)
    source = open_source(f"wds:{tmp_path / 'set'}", Columns(("label",)))
    assert text != f"wds:{tmp_path / 'set'}"
    keys = [f"train/{shard}/{n:03d}" for shard in ("00000", "00001", "a/00000") for n in range(3)]
    assert said(source) == {key: f"{key[6:-4]}-{int(key[-3:])}" for key in keys}
    assert [source.read(row).decode() for row in range(9)] == [f"{key[6:-4]}{int(key[-3:])}" for key in keys]


@pytest.mark.parametrize(
    "label", [b"\xef\xbb\xbf2\r\n", b" 2 ", b"2.0", "2".encode("utf-16")], ids=["bom", "spaces", "float", "utf-16"]
)
def test_labels_and_endings_as_other_systems_write_them(label: bytes, tmp_path: Path) -> None:
    members = [(f"{n}.{end}", data) for n in range(3) for end, data in (("JPG", image_bytes(n)), ("CLS", b"%d" % n))]
    members += [("3.Jpeg", image_bytes(3)), ("3.Cls", label)]
    source = open_source(make_shard(tmp_path / "train.tar", *members))
    assert said(source) == {"train/0": "0", "train/1": "1", "train/2": "2", "train/3": "2"}


def test_a_label_said_twice_must_be_the_same(tmp_path: Path) -> None:
    text = make_shard(tmp_path / "train.tar", ("x.jpg", b"1"), ("x.cls", b"3"), ("x.cls", b"3"))
    assert passed(open_source(text)) == {"members that are there twice, alike": 1}
    make_shard(tmp_path / "train.tar", ("x.jpg", b"1"), ("x.cls", b"3"), ("x.cls", b"4"))
    with pytest.raises(UsageError, match=r"'x.cls' is there twice, with b'3' and b'4'"):
        open_source(text)


def test_large_and_sparse_numbers_are_names(tmp_path: Path) -> None:
    numbers = ["999999", "2019", "999999", "12345678901234567890"]
    members = [
        (f"{n}.{end}", data)
        for n, label in enumerate(numbers)
        for end, data in (("jpg", b"x"), ("cls", label.encode()))
    ]
    source = open_source(make_shard(tmp_path / "train.tar", *members))
    assert source.classes == ("2019", "999999", "12345678901234567890")
    assert said(source) == {f"train/{n}": label for n, label in enumerate(numbers)}


def packed(root: Path, out: Path, how: str) -> str:
    """Write the shards of a folder again, compressed or in pieces."""
    out.mkdir()
    for shard in root.glob("*.tar"):
        data = shard.read_bytes()
        if how == "pieces":
            for piece in range(0, len(data), 7001):
                (out / f"{shard.name}.{piece // 7001:03d}").write_bytes(data[piece : piece + 7001])
        elif how == "pieces of gz":
            compressed = gzip.compress(data)
            half = len(compressed) // 2
            (out / f"{shard.name}.gz.aa").write_bytes(compressed[:half])
            (out / f"{shard.name}.gz.ab").write_bytes(compressed[half:])
        else:
            compress = bz2.compress if how == ".tar.bz2" else gzip.compress
            (out / f"{shard.stem}{how}").write_bytes(compress(data))
    return str(out)


@pytest.mark.parametrize("how", [".tar.gz", ".tgz", ".tar.bz2", ".tar", "pieces", "pieces of gz"])
def test_compressed_shards_and_pieces_are_the_same_source(how: str, tmp_path: Path) -> None:
    plain = open_source(make_wds(tmp_path / "plain"))
    source = open_source(packed(tmp_path / "plain", tmp_path / "packed", how))
    assert (source.samples, source.classes) == (plain.samples, plain.classes)
    rows = range(len(plain.samples))
    assert [source.read(row) for row in reversed(rows)] == [plain.read(row) for row in reversed(rows)]


def test_more_compressed_shards_than_are_unpacked_at_a_time(tmp_path: Path) -> None:
    for shard in range(7):
        make_shard(tmp_path / "plain" / f"{shard}.tar", (f"{shard}.jpg", image_bytes(shard)), (f"{shard}.cls", b"0"))
    source = open_source(packed(tmp_path / "plain", tmp_path / "packed", ".tgz"))
    assert [source.read(row) for row in (*range(7), *range(7))] == [image_bytes(n) for n in (*range(7), *range(7))]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], r"train.tar.gz: is no tar archive that can be read .*; expected"),
        (
            lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:],
            r"train.tar.gz: is no tar archive that can be read .*; expected",
        ),
    ],
)
def test_a_damaged_archive_is_refused(damage, message: str, tmp_path: Path) -> None:
    make_shard(tmp_path / "train.tar", *[(f"{n}.{end}", image_bytes(n)) for n in range(5) for end in ("jpg", "txt")])
    data = gzip.compress((tmp_path / "train.tar").read_bytes())
    (tmp_path / "train.tar").unlink()
    (tmp_path / "train.tar.gz").write_bytes(damage(data))
    with pytest.raises(UsageError, match=message):
        open_source(f"wds:{tmp_path}")


def test_a_lacking_piece_is_missed(tmp_path: Path) -> None:
    make_wds(tmp_path / "plain")
    out = packed(tmp_path / "plain", tmp_path / "packed", "pieces")
    (tmp_path / "packed" / "train-0000.tar.001").unlink()
    with pytest.raises(UsageError, match=r"train-0000.tar: some of its pieces are lacking"):
        open_source(out)


def test_folders_within_a_shard_tell_the_split_where_its_name_does_not(tmp_path: Path) -> None:
    members = [(f"{folder}/{end}.{end}", b"1") for folder in ("train", "test") for end in ("jpg",)]
    members += [("train/jpg.cls", b"0"), ("test/jpg.cls", b"1")]
    source = open_source(make_shard(tmp_path / "birds.tar", *members))
    assert [(s.key, s.split) for s in source.samples] == [("train/train/jpg", "train"), ("test/test/jpg", "test")]
    (tmp_path / "birds.tar").rename(tmp_path / "birds_train.tar")
    with pytest.raises(UsageError, match="'test/jpg' would be in split 'train', and lies in 'test'"):
        open_source(f"wds:{tmp_path}")


def test_without_cls_the_error_names_the_option_for_json(tmp_path: Path) -> None:
    text = make_shard(tmp_path / "0.tar", ("x.jpg", b"1"), ("x.json", b'{"label": "cat"}'))
    with pytest.raises(UsageError, match=r"key 'x' has no .cls member; .* name a field of .json: --label-column"):
        open_source(text)
    assert open_source(text, Columns(("label",))).classes == ("cat",)
