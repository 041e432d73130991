"""Every kind of input gives the same images, and every kind of output the same answers."""

import contextlib
import csv
import gzip
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icecore.extract.files.tally import Tally
from icecore.live import Prediction
from icecore.live.predict.answers import open_answers
from icecore.live.predict.inputs import images_of
from icecore.store import UsageError

DATA = {"a.png": b"first", "b/c.jpg": b"second", "d.webp": b""}
ANSWERS = [
    Prediction("a", "cat, grey", 0.75),
    Prediction("b", None, None, "ValueError: no image"),
    Prediction("c", None, None, outputs={"cat": 0.5, "dog": 0.25}, bundle="runs/a"),
]


def data_of(given: str) -> list[bytes]:
    return [image if isinstance(image, bytes) else Path(image).read_bytes() for _, image in images_of(given, Tally())]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in DATA.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path / "in"


def test_folders_tars_parquet_and_paths_hold_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("notes.txt", *DATA):
            tar.add(folder / name, name)
    (tmp_path / "x.tgz").write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes()))
    structs = [{"bytes": data, "path": name} for name, data in DATA.items()]
    pq.write_table(pa.table({"image": structs, "label": [0, 1, 2]}), tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": list(DATA.values())}), tmp_path / "plain.parquet")
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{folder / name}\n" for name in DATA) + "\n"))
    files = [f"{tmp_path}/{name}" for name in ("x.tar", "x.tgz", "x.parquet", "plain.parquet")]
    for given in (str(folder), *files, "-"):
        assert data_of(given) == list(DATA.values()), given
    assert [key for key, _ in images_of(f"{tmp_path}/x.tar", Tally())] == list(DATA)
    assert [key for key, _ in images_of(f"{tmp_path}/plain.parquet", Tally())] == ["0", "1", "2"]
    assert data_of(str(folder / "a.png")) == [b"first"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "gone.png",
            r"no image at '.*gone.png': expected a file or a folder of images, a .tar, .tgz or .parquet file, or -",
        ),
        ("empty", r"no images in this folder \(.avif"),
        ("text.tar", "is no tar archive that can be read"),
        ("bare.tar", "no member is an image"),
        ("text.parquet", "is no Parquet file that can be read"),
        ("bare.parquet", "has no column 'image', only label"),
    ],
)
def test_what_holds_no_image_is_said(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar").write_text("text" * 300)
    (tmp_path / "text.parquet").write_text("text" * 300)
    tarfile.open(tmp_path / "bare.tar", "w").close()
    pq.write_table(pa.table({"label": [1]}), tmp_path / "bare.parquet")
    with pytest.raises(UsageError, match=says):
        list(images_of(str(tmp_path / name), Tally()))


@pytest.mark.parametrize("kind", ["folder", "tgz"])
def test_what_is_no_image_is_counted(folder: Path, tmp_path: Path, kind: str) -> None:
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "a.png").write_bytes(b"hidden")
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as tar:
        tar.add(folder, "./in")
    tally, given = Tally(), folder if kind == "folder" else tmp_path / "x.tgz"
    assert [key.rpartition("in/")[2] for key, _ in images_of(str(given), tally)] == list(DATA)
    found = {one.what: (one.count, one.example.rpartition("in/")[2]) for one in tally.passed_over}
    assert found == {
        "hidden or system files": (1, "__MACOSX/a.png"),
        "files ending in .txt": (1, "notes.txt"),
    }


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_every_file_says_the_same(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"answers.{ending}"
    with open_answers(path) as answers:
        for one in ANSWERS:
            answers.add(one)
        assert not path.exists(), "it appears when it is whole"
    if ending == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert rows[0] == {"key": "a", "label": "cat, grey", "probability": 0.75}
    elif ending == "csv":
        rows = list(csv.DictReader(path.read_text().splitlines()))
        rows[2]["outputs"] = json.loads(rows[2]["outputs"])  # pyright: ignore[reportArgumentType]
    else:
        rows = pq.read_table(path).to_pylist(maps_as_pydicts="strict")
    assert [row["key"] for row in rows] == ["a", "b", "c"]
    assert float(rows[0]["probability"]) == 0.75
    assert rows[1]["error"] == "ValueError: no image"
    assert rows[2]["outputs"] == {"cat": 0.5, "dog": 0.25}
    assert rows[2]["bundle"] == "runs/a"


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        with contextlib.suppress(KeyError), open_answers(tmp_path / f"x.{ending}") as answers:
            answers.add(ANSWERS[0])
            raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_answers_replace_answers_and_no_other_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"labels.{ending}"
    others = {"jsonl": b'{"path": "a.png"}\n', "csv": b"path,label\na.png,cat\n", "parquet": b"PAR1 no table"}
    path.write_bytes(others[ending])
    with (
        pytest.raises(UsageError, match=f"labels.{ending}: is there already and not a file of answers"),
        open_answers(path),
    ):
        pass
    assert path.read_bytes() == others[ending]
    path.unlink()
    for num in (3, 1):
        with open_answers(path) as answers:
            for one in ANSWERS[:num]:
                answers.add(one)
    if ending == "parquet":
        assert pq.read_table(path).num_rows == 1
    else:
        assert len(path.read_text().splitlines()) == 1 + (ending == "csv")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"unknown kind of file of '.*x.xlsx' 'xlsx'; choices: jsonl, csv, parquet"),
        open_answers(tmp_path / "x.xlsx"),
    ):
        pass
