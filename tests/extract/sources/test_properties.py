"""Whatever a data set is called and in whatever order it lies: no image and no label is lost, changed or uncounted."""

import csv
import io
import json
import random
import tarfile
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icecore.extract import Source, open_source
from icecore.extract.labels.columns import Columns

from ..conftest import add_member


class Row(NamedTuple):
    """An image of a data set; its bytes are its number, since nothing is decoded here."""

    number: int
    name: str
    label: str
    split: str

    @property
    def data(self) -> bytes:
        return f"image {self.number}".encode()


def is_good(name: str) -> bool:
    return name == name.strip(" .") and name.isprintable()


NAMES = st.text("abAéж.-_ 01", min_size=1, max_size=5).filter(is_good)
LABELS = st.text("abAéж-_ ", min_size=1, max_size=4).filter(is_good)


@st.composite
def data_sets(draw: st.DrawFn) -> list[Row]:
    """Draw a data set of a few images, in which each class may be spelt in either Unicode form anywhere."""
    names = draw(st.lists(NAMES, min_size=2, max_size=9, unique=True))
    labels = draw(st.lists(LABELS, min_size=1, max_size=3, unique_by=lambda name: unicodedata.normalize("NFC", name)))
    rows = []
    for number, name in enumerate(names):
        form = draw(st.sampled_from(("NFC", "NFD")))
        label = unicodedata.normalize(form, draw(st.sampled_from(labels)))  # type: ignore[arg-type]
        rows.append(Row(number, name, label, "train" if not number else draw(st.sampled_from(("train", "test")))))
    return rows


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def folder(root: Path, rows: list[Row], _order: random.Random) -> Source:
    for row in rows:
        put(root / f"x_{row.split}" / row.label / f"{row.name}.png", row.data)
    return open_source(f"folder:{root}")


def timm(root: Path, rows: list[Row], order: random.Random) -> Source:
    folder(root, rows, order)
    return open_source(f"timm:{root}")


def manifest(root: Path, rows: list[Row], _order: random.Random) -> Source:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["path", "label", "split"])
    for row in rows:
        put(root / "images" / f"{row.name}.png", row.data)
        writer.writerow([f"images/{row.name}.png", row.label, row.split])
    put(root / "list.csv", text.getvalue().encode())
    return open_source(f"csv:{root / 'list.csv'}")


def imagefolder(root: Path, rows: list[Row], _order: random.Random) -> Source:
    for split in {row.split for row in rows}:
        mine = [row for row in rows if row.split == split]
        lines = [json.dumps({"file_name": f"{row.name}.png", "label": row.label}) for row in mine]
        put(root / split / "metadata.jsonl", "\n".join(lines).encode())
        for row in mine:
            put(root / split / f"{row.name}.png", row.data)
    return open_source(f"imagefolder:{root}")


def shards(rows: list[Row], order: random.Random) -> dict[str, list[Row]]:
    """Deal rows to two shards of each split, in any way."""
    dealt: dict[str, list[Row]] = {}
    for row in rows:
        dealt.setdefault(f"{row.split}-{order.randrange(2)}", []).append(row)
    return dealt


def parquet(root: Path, rows: list[Row], order: random.Random) -> Source:
    for name, mine in shards(rows, order).items():
        image = [{"bytes": row.data, "path": f"{row.name}.png"} for row in mine]
        pq.write_table(pa.table({"image": image, "label": [row.label for row in mine]}), root / f"{name}.parquet")
    return open_source(f"parquet:{root}")


def wds(root: Path, rows: list[Row], order: random.Random) -> Source:
    for name, mine in shards(rows, order).items():
        members = [(f"{row.name}.png", row.data) for row in mine]
        members += [(f"{row.name}.JSON", json.dumps({"label": row.label}).encode()) for row in mine]
        order.shuffle(members)
        with tarfile.open(root / f"{name}.tar.gz", "w:gz") as tar:
            for member in members:
                add_member(tar, *member)
    return open_source(f"wds:{root}", Columns(("label",)))


KINDS: dict[str, Callable[[Path, list[Row], random.Random], Source]] = {
    "folder": folder,
    "timm": timm,
    "csv": manifest,
    "imagefolder": imagefolder,
    "parquet": parquet,
    "wds": wds,
}


def said(source: Source) -> dict[bytes, tuple[str, str]]:
    """Return the name of every image's class, as names are compared, and its split."""
    found = {}
    for row, sample in enumerate(source.samples):
        assert sample.label is not None
        found[source.read(row)] = (unicodedata.normalize("NFC", source.classes[sample.label]), sample.split)
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(rows=data_sets(), seed=st.integers(0, 99))
def test_every_image_has_its_label_and_its_split_in_any_order(kind: str, rows: list[Row], seed: int) -> None:
    order = random.Random(seed)
    wanted = {row.data: (unicodedata.normalize("NFC", row.label), row.split) for row in rows}
    for _ in range(2):
        with tempfile.TemporaryDirectory() as place:
            source = KINDS[kind](Path(place), rows, order)
            assert said(source) == wanted
            assert len(source.classes) == len({label for label, _ in wanted.values()})
            assert len(source.samples) == len(rows) == len({sample.key for sample in source.samples})
            assert source.tally.passed_over == ()
        rows = order.sample(rows, len(rows))


JUNK = st.sampled_from([".a.png", "Thumbs.db", "a.heic", "note.txt", ".x/b.png", "__MACOSX/c.png", "@eaDir/d.png"])


@pytest.mark.parametrize("kind", ["folder", "timm"])
@settings(max_examples=12, deadline=None)
@given(rows=data_sets(), junk=st.lists(JUNK, unique=True))
def test_every_file_is_a_row_or_is_counted(kind: str, rows: list[Row], junk: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        folder(root, rows, random.Random(0))
        for name in junk:
            put(root / f"x_{rows[0].split}" / rows[0].label / name, b"junk")
        source = KINDS[kind](root, rows, random.Random(0))
        assert len(source.samples) == len(rows)
        assert sum(found.count for found in source.tally.passed_over) == len(junk)


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.integers(0, 12) | st.integers(0, 10**12), min_size=1, max_size=9))
def test_class_numbers_of_any_size_keep_their_names_and_are_few(numbers: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(Path(place, "train.tar"), "w") as tar:
            for row, number in enumerate(numbers):
                add_member(tar, f"{row}.png", b"image")
                add_member(tar, f"{row}.cls", str(number).encode())
        source = open_source(f"wds:{place}")
        assert [source.classes[sample.label or 0] for sample in source.samples] == list(map(str, numbers))
        assert len(source.classes) <= 2 * len(set(numbers))
