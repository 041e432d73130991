"""Columns by other names, several labels a row, numbers to predict, and splits made out of others."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icecore.extract import ExtractSettings, Source, extract, open_source
from icecore.extract.files.tally import Tally
from icecore.extract.labels.cells import Cells
from icecore.extract.labels.columns import Columns
from icecore.extract.labels.targets import read_targets
from icecore.extract.rows.split_moves import move_splits
from icecore.extract.settings import parse_command
from icecore.store import Sample, UsageError, open_store

from ..conftest import BACKBONE, add_member, image_bytes, make_csv, make_folder, make_parquet

WHERE = "csv 'x'"


def csv_source(root: Path, header: str, *lines: str, **columns: object) -> Source:
    (root / "list.csv").write_text("\n".join([header, *lines]))
    return open_source(f"csv:{root / 'list.csv'}", Columns(**columns))  # type: ignore[arg-type]


def facts(source: Source) -> list[tuple]:
    return [(sample.key, sample.label, sample.split, sample.group, sample.target) for sample in source.samples]


def test_columns_of_a_manifest_by_other_names(tmp_path: Path) -> None:
    lines = ("a.png,bee,test,p1", "b.png,ant,train,p2")
    source = csv_source(
        tmp_path, "path,species,fold,patient", *lines, label=("species",), split="fold", group="patient"
    )
    assert facts(source) == [("a.png", 1, "test", "p1", None), ("b.png", 0, "train", "p2", None)]
    assert source.classes == ("ant", "bee")


def test_several_labels_in_one_column_of_a_manifest(tmp_path: Path) -> None:
    lines = ("a.png,cat; dog,train", "b.png,dog,train", "c.png,,train")
    source = csv_source(tmp_path, "path,label,split", *lines, target="multilabel")
    assert source.classes == ("cat", "dog")
    assert [sample.target for sample in source.samples] == [(1, 1), (0, 1), None]
    assert {sample.label for sample in source.samples} == {None}


def test_several_columns_of_a_manifest(tmp_path: Path) -> None:
    lines = ("a.png,1,0,train", "b.png,,,train", "c.png,0.0,1,train")
    header, columns = "path,wet,cold,split", ("wet", "cold")
    source = csv_source(tmp_path, header, *lines, label=columns, target="multilabel")
    assert (source.classes, [s.target for s in source.samples]) == (columns, [(1, 0), None, (0, 1)])
    source = csv_source(tmp_path, header, "a.png,1.5,-2,train", label=columns, target="regression")
    assert (source.classes, source.samples[0].target) == (columns, (1.5, -2.0))


def test_lists_and_numbers_of_parquet(tmp_path: Path) -> None:
    image = pa.array([{"bytes": image_bytes(i), "path": f"{i}.jpg"} for i in range(3)])
    columns = {
        "image": image,
        "tags": [["b", "a"], [], None],
        "ids": [[2], [0, 1], [1]],
        "box": [[0.5, 1.5], [2.0, 3.0], None],
        "age": [3, 4, 5],
        "part": ["train", "valid", "test"],
        "who": [7, 7, None],
    }
    features = {"info": {"features": {"ids": {"feature": {"names": ["x", "y", "z"]}, "_type": "Sequence"}}}}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, tmp_path / "a.parquet")
    text = f"parquet:{tmp_path}"
    tags = open_source(text, Columns(("tags",), "part", "who", "multilabel"))
    assert (tags.classes, [s.target for s in tags.samples]) == (("a", "b"), [(1, 1), (0, 0), None])
    assert [(s.split, s.group) for s in tags.samples] == [("train", "7"), ("validation", "7"), ("test", None)]
    ids = open_source(text, Columns(("ids",), target="multilabel"))
    assert (ids.classes, ids.samples[1].target) == (("x", "y", "z"), (1, 1, 0))
    box = open_source(text, Columns(("box",), target="regression"))
    assert (box.classes, box.samples[2].target, box.samples[0].target) == (("box[0]", "box[1]"), None, (0.5, 1.5))
    both = open_source(text, Columns(("age",), target="regression"))
    assert (both.classes, both.samples[2].target) == (("age",), (5,))
    with pytest.raises(UsageError, match=r"2 label columns for one class; choose --target"):
        open_source(text, Columns(("age", "part")))
    with pytest.raises(UsageError, match=r"not all of \['size'\]"):
        open_source(text, Columns(("size",)))
    with pytest.raises(
        UsageError, match=r"row 0 has \[0\.5, 1\.5\] in column 'box'; expected a class: .* --target multilabel"
    ):
        open_source(text, Columns(("box",)))


def make_json_shard(root: Path, *fields: object) -> str:
    with tarfile.open(root / "train-0.tar", "w") as tar:
        for number, said in enumerate(fields):
            add_member(tar, f"{number}.png", image_bytes(number, "PNG"))
            add_member(tar, f"{number}.json", json.dumps(said).encode())
    return f"wds:{root}"


def test_fields_of_webdataset_json(tmp_path: Path) -> None:
    text = make_json_shard(
        tmp_path,
        {"label": "b", "t": [1, 2], "fold": "val", "id": 3},
        {"label": "a", "t": [3, 4], "fold": "test"} | {"id": 4},
    )
    source = open_source(text, Columns(("label",), "fold", "id"))
    assert facts(source) == [("train/0", 1, "validation", "3", None), ("train/1", 0, "test", "4", None)]
    source = open_source(text, Columns(("t",), target="regression"))
    assert (source.classes, source.samples[1].target) == (("t[0]", "t[1]"), (3, 4))
    numbers = open_source(text, Columns(("id",)))
    assert (numbers.classes, numbers.samples[0].label) == (("3", "4"), 0)
    with pytest.raises(UsageError, match=r"'train/0' has no field 'size' among \['fold', 'id', 'label', 't'\]"):
        open_source(text, Columns(("size",)))
    with pytest.raises(UsageError, match=r"0\.json holds no JSON object"):
        open_source(make_json_shard(tmp_path, [1]), Columns(("t",)))


@pytest.mark.parametrize(
    ("kind", "columns", "rows", "message"),
    [
        ("multilabel", ["a", "b"], [["1", "2"]], r"row 0 has '2'; expected 0 or 1"),
        ("multilabel", ["a", "b"], [["1", ""]], r"row 0 has ''; expected 0 or 1 \(true or false\), all columns empty"),
        ("regression", ["a"], [["nan"]], r"row 0 has 'nan' in column 'a'; expected a finite number"),
        ("regression", ["a"], [[[1, 2]], [[1]]], r"\['a'\] hold \[1, 2\] numbers; expected as many in every row"),
        ("regression", ["a"], [[None]], r"hold \[\] numbers"),
        ("multilabel", ["a"], [[3.5]], r"row 0 has 3.5 in column 'a'; expected a list of classes, or names"),
        ("multilabel", ["a"], [[[-1]]], r"has -1 in column 'a'; expected a class by name, or by number from 0"),
        ("multilabel", ["a"], [[""]], r"column 'a' names no class in any row"),
    ],
)
def test_values_that_are_no_target_are_one_clear_line(kind: str, columns: list, rows: list, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_targets(kind, Cells(columns, rows, WHERE, "row {}".format), Tally())  # type: ignore[arg-type]


def test_columns_are_refused_where_there_are_none(tmp_path: Path) -> None:
    text = make_folder(tmp_path)
    with pytest.raises(
        UsageError, match="has no columns for --label-column; kinds that have: parquet, wds, csv, imagefolder"
    ):
        open_source(text, Columns(("x",)))
    with pytest.raises(UsageError, match="has no columns for --target multilabel"):
        open_source(text, Columns(target="multilabel"))


def test_a_store_keeps_targets_and_moved_splits(checkpoint: str, tmp_path: Path) -> None:
    make_parquet(tmp_path / "set")
    settings = ExtractSettings(
        backbone=BACKBONE, checkpoint=checkpoint, layers="0", target="regression", split=("validation=train:30%",)
    )
    extract(f"parquet:{tmp_path / 'set'}", str(tmp_path / "s.ice"), settings)
    store = open_store(str(tmp_path / "s.ice"))
    assert (store.spec.target, store.classes) == ("regression", ("label",))
    wanted = [*(seed % 3 for seed in range(17, 23)), *(seed % 3 for seed in range(17))]  # test's file comes first
    assert np.array_equal(store.targets[:, 0], wanted)
    assert store.splits.keys() == {"train", "test", "validation"}
    assert "--target regression --split validation=train:30%" in store.spec.command


def rows(num_rows: int, num_groups: int | None = None) -> list[Sample]:
    return [Sample(f"{n}", 0, "train", f"g{n % num_groups}" if num_groups else None) for n in range(num_rows)]


def test_a_share_of_a_split_moves_and_nobody_moves_later() -> None:
    moved = move_splits(rows(10_000), ["validation=train:10%", "test=train:50%"])
    counts = {name: sum(sample.split == name for sample in moved) for name in ("train", "validation", "test")}
    assert abs(counts["validation"] - 1000) < 100
    assert abs(counts["test"] - 4500) < 200
    assert move_splits(rows(20_000), ["validation=train:10%", "test=train:50%"])[:10_000] == moved


def test_groups_move_whole() -> None:
    moved = move_splits(rows(1000, 50), ["validation=train:20%"])
    assert all(len({sample.split for sample in moved if sample.group == f"g{group}"}) == 1 for group in range(50))


@pytest.mark.parametrize(
    ("move", "message"),
    [
        ("validation", "split 'validation': expected NAME=FROM:PERCENT, such as validation=train:10%"),
        ("validation=train:0%", "expected NAME=FROM:PERCENT"),
        ("validation=test:10%", "split validation=test: there is no split 'test'; the source has train"),
        ("train=train:10%", "split train=train: there is a split 'train' already"),
        ("validation=train:0.001%", "split validation=train: leaves one of the two empty"),
    ],
)
def test_a_wrong_move_is_one_clear_line(move: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        move_splits(rows(20), [move])


def test_a_manifest_without_the_columns_asked_for(tmp_path: Path) -> None:
    text = make_csv(tmp_path)
    with pytest.raises(UsageError, match="no column 'kind' among"):
        open_source(text, Columns(("kind",)))
    with pytest.raises(UsageError, match="2 label columns for one class; choose --target"):
        open_source(text, Columns(("label", "split")))


def test_a_store_keeps_what_is_not_known_and_resumes_with_it(checkpoint: str, tmp_path: Path) -> None:
    lines = ["path,wet,cold,split", "a.png,1.0,-1.0,train", "b.png,0,1,train", "c.png,-1,-1,train"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(image_bytes(ord(name), "PNG"))
    settings = ExtractSettings(
        backbone=BACKBONE,
        checkpoint=checkpoint,
        layers="0",
        label_column=("wet", "cold"),
        target="multilabel",
        unknown=("-1",),
    )
    for _ in range(2):
        extract(str(tmp_path / "list.csv"), str(tmp_path / "s.ice"), settings)
    store = open_store(str(tmp_path / "s.ice"))
    nan = float("nan")
    assert np.array_equal(store.targets, [[1, nan], [0, 1], [nan, nan]], equal_nan=True)
    assert store.spec.source_report is not None
    assert {(found.what, found.count) for found in store.spec.source_report.noted} == {
        ("values read as not known (--unknown -1)", 3),
        ("rows of train without a label", 1),
    }
    assert parse_command(store.spec.command)[1].unknown == ("-1",)
    (tmp_path / "list.csv").write_text("\n".join([*lines, "d.png,1,1,train"]))
    (tmp_path / "d.png").write_bytes(image_bytes(9, "PNG"))
    extract(str(tmp_path / "list.csv"), str(tmp_path / "s.ice"), settings)
    assert open_store(str(tmp_path / "s.ice")).num_rows == 4


def test_a_list_printed_by_a_program_is_no_class(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    for text in ("['a', 'b']", "[0 1]", "{a}"):
        path.write_text(f'path,label\na.png,"{text}"\n')
        with pytest.raises(UsageError, match=r"line 2 has .* expected names parted by ';', not a list"):
            open_source(f"csv:{path}", Columns(("label",), target="multilabel"))
