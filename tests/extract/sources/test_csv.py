"""Manifests as spreadsheets, pandas and people write them: read right, or refused with the number of the line."""

from pathlib import Path

import pytest

from icecore.extract import Source, open_source
from icecore.extract.labels.columns import Columns
from icecore.store import UsageError

from ..conftest import image_bytes

ROWS = ("path,label,split", "a.png,ant,train", "b/b.png,bee,test")
FOUND = [("b/b.png", "bee", "test"), ("a.png", "ant", "train")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "a.png").write_bytes(image_bytes(0, "PNG"))
    (tmp_path / "b" / "b.png").write_bytes(image_bytes(1, "PNG"))
    return tmp_path


def manifest(folder: Path, data: str | bytes, name: str = "list.csv", **columns: object) -> Source:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return open_source(str(folder / name), Columns(**columns))  # type: ignore[arg-type]


def said(source: Source) -> list[tuple[str, str | None, str]]:
    return [(s.key, None if s.label is None else source.classes[s.label], s.split) for s in source.samples]


def noted(source: Source) -> list[str]:
    return [found.what for found in source.tally.noted]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", ", " ; "])
def test_delimiters_encodings_and_line_ends(delimiter: str, encoding: str, end: str, folder: Path) -> None:
    text = end.join(row.replace(",", delimiter) for row in ("", *ROWS, "", ""))
    source = manifest(folder, text.encode(encoding))
    assert said(source) == FOUND
    assert noted(source) == (
        [] if delimiter.strip() in (",", "") and delimiter != "\t" else [f"columns parted by {delimiter.strip(' ')!r}"]
    )


def test_quotes_hold_delimiters_quotes_and_line_breaks(folder: Path) -> None:
    rows = 'path,label,split,note\n"a.png","a ""big"", black\nant",train,"x\ny"\n"b/b.png", "bee",test,\n'
    assert said(manifest(folder, rows)) == [("b/b.png", "bee", "test"), ("a.png", 'a "big", black\nant', "train")]
    (folder / "a,1.png").write_bytes(b"")
    assert said(manifest(folder, 'path,label,split\n"a,1.png",ant,train\n')) == [("a,1.png", "ant", "train")]


def test_paths_that_are_absolute_or_begin_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert said(manifest(folder, f"path,label,split\n{folder}/a.png,ant,train\n~/b/b.png,bee,test\n")) == FOUND
    (folder.parent / "linked").unlink(missing_ok=True)
    (folder.parent / "linked").symlink_to(folder)
    source = open_source(str(folder.parent / "linked" / "list.csv"))
    assert said(source) == FOUND
    assert source.read(0) == image_bytes(1, "PNG")


def test_paths_in_any_spelling_keep_their_key(folder: Path) -> None:
    assert said(manifest(folder, "path,label,split\n./a.png,ant,train\n")) == [("./a.png", "ant", "train")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,ant,train\n../a.png,ant,train", r"line 3: path '../a.png'; expected one relative .* move the manifest"),
        ("b/../../a.png,ant,train", "line 2: path"),
        ("/etc/passwd,ant,train", "line 2: path '/etc/passwd'"),
        ("~root/a.png,ant,train", "line 2: path '~root/a.png'"),
        ("b\\b.png,ant,train", "line 2: path .*with '/'"),
        (",ant,train", "line 2: path ''"),
        ("a.png,ant,train\na.png,ant,train", r"line 3: 'a.png' is listed twice, first in line 2; keep one line"),
        (
            "a.png,ant,train\n\n./a.png,bee,train",
            "line 4: './a.png' is listed twice, first in line 2 as 'ant', now as 'bee'",
        ),
        ('"a.png,ant,train\n', "line 2: unexpected end of data"),
        ('"a" ,ant,train', "line 2: ',' expected after '\"'"),
        ("a.png,ant,train\nb.png,ant,black,train", r"line 3: has another number of fields \(4\) than the header \(3\)"),
        ("a.png,ant,", "line 2: no split; expected train, test or validation"),
        ("a.png,0.5,train", "line 2 has '0.5' in column 'label'; expected a class"),
    ],
)
def test_a_line_that_is_not_good_is_refused_by_its_number(rows: str, message: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=message):
        manifest(folder, f"path,label,split\n{rows}\n")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "path,label,split\nä.png,ant,train\n".encode("latin-1"),
            "line 2: byte 0xe4 is no UTF-8 text; save it as UTF-8",
        ),
        ("path,label,split\n".encode("utf-16-le"), "holds zero bytes, which is no text"),
        (b"path,label,label,split\n", "two columns 'label' among"),
        (b"file,class\na.png,ant\n", r"no column 'path' among \['file', 'class'\]; name .* with --path-column"),
        (b"", "no column 'path' among"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(data: bytes, message: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=message):
        manifest(folder, data)


def test_columns_by_other_names(folder: Path) -> None:
    source = manifest(
        folder, "image;class;part\na.png;ant;train\nb/b.png;bee;test\n", path="image", label=("class",), split="part"
    )
    assert said(source) == FOUND


def test_without_a_column_of_splits_the_names_tell(folder: Path) -> None:
    rows = "path,label\na.png,ant\nb/b.png,bee\n"
    assert {split for _, _, split in said(manifest(folder, rows, "train.csv"))} == {"train"}
    assert {split for _, _, split in said(manifest(folder, rows, "labels_test.csv"))} == {"test"}
    with pytest.raises(UsageError, match=r"no column 'split' among .*, and no split in the names"):
        manifest(folder, rows)
    with pytest.raises(UsageError, match="names no split where 'list/test' names 'test'"):
        manifest(folder, "path,label\na.png,ant\ntest/b.png,bee\n")
    with pytest.raises(UsageError, match="names the split 'train' and 'test' too"):
        manifest(folder, "path,label\ntest/b.png,bee\n", "train.csv")


def test_paths_that_lack_their_folder_or_ending_are_completed(folder: Path) -> None:
    source = manifest(folder, "id,label\nb,bee\n", "train.csv", path="id")
    assert said(source) == [("b/b.png", "bee", "train")]
    assert source.read(0) == image_bytes(1, "PNG")
    assert noted(source) == ["paths that lacked a folder or an ending, completed"]
    (folder / "c").mkdir()
    (folder / "c" / "b.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"line 2: path 'b' may be 'b/b.png' or 'c/b.jpg'; write the whole path"):
        manifest(folder, "id,label\nb,bee\n", "train.csv", path="id")


def test_several_classes_in_a_cell_beside_a_delimiter(folder: Path) -> None:
    source = manifest(folder, 'path,label,split\na.png,"ant,bee",train\nb/b.png,bee,test\n', target="multilabel")
    assert (source.classes, [sample.target for sample in source.samples]) == (("ant", "bee"), [(0, 1), (1, 1)])
    source = manifest(folder, "path;label;split\na.png;ant|bee;train\nb/b.png;bee;test\n", target="multilabel")
    assert (source.classes, [sample.target for sample in source.samples]) == (("ant", "bee"), [(0, 1), (1, 1)])
