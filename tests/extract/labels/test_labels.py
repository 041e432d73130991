"""What a column of labels means: the same by whatever source it comes, and refused where it means no class."""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icecore.extract import Source, open_source
from icecore.extract.files.tally import Tally
from icecore.extract.labels.cells import Cells
from icecore.extract.labels.columns import Columns
from icecore.extract.labels.labels import Labels, read_labels
from icecore.store import UsageError

NO_NUMBER = r"row 0 has .* expected a class: a name, a whole number, or true or false"


def labels_of(*values: object, tally: Tally | None = None, known: tuple[str, ...] = (), **columns: object) -> Labels:
    cells = Cells(("label",), [(value,) for value in values], "csv 'x'", "row {}".format)
    return read_labels(cells, Columns(**columns), tally or Tally(), known)  # type: ignore[arg-type]


def names(found: Labels) -> list[str | None]:
    return [None if label is None else found.classes[label] for label in found.labels]


@pytest.mark.parametrize(
    ("values", "classes", "told"),
    [
        ((0, 2, 1), ("0", "1", "2"), ["0", "2", "1"]),
        ((0, 2, 3), ("0", "1", "2", "3"), ["0", "2", "3"]),
        ((999_999, 0, 7), ("0", "7", "999999"), ["999999", "0", "7"]),
        ((2019, 2021, 2021), ("2019", "2021"), ["2019", "2021", "2021"]),
        ((True, False, None), ("False", "True"), ["True", "False", None]),
        ((True, True), ("False", "True"), ["True", "True"]),
        ((0.0, 1.0, math.nan), ("0", "1"), ["0", "1", None]),
        ((Decimal("1.00"), Decimal(0)), ("0", "1"), ["1", "0"]),
        (([1], [0], None), ("0", "1"), ["1", "0", None]),
        ((["cat"], "dog"), ("cat", "dog"), ["cat", "dog"]),
        ((0, -1, 1), ("0", "1"), ["0", None, "1"]),
        ((3, "cat"), ("3", "cat"), ["3", "cat"]),
        (("10", "9", ""), ("9", "10"), ["10", "9", None]),
        (("0.0", "1.0", "nan"), ("0.0", "1.0"), ["0.0", "1.0", None]),
        (("2019", "NA"), ("2019",), ["2019", None]),
        (("1_2", "12"), ("12", "1_2"), ["1_2", "12"]),
        (("nan", "cat"), ("cat", "nan"), ["nan", "cat"]),
        ((None, ""), (), [None, None]),
    ],
)
def test_values_are_classes(values: tuple, classes: tuple[str, ...], told: list[str | None]) -> None:
    found = labels_of(*values)
    assert (found.classes, names(found)) == (classes, told)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.5,), NO_NUMBER + ".*--target regression"),
        ((Decimal("0.5"),), NO_NUMBER),
        (("0.5", "1"), NO_NUMBER),
        ((math.inf,), NO_NUMBER),
        (([1, 2],), NO_NUMBER + ".*--target multilabel"),
        (([],), NO_NUMBER),
        (({"a": 1},), NO_NUMBER),
        ((b"cat",), NO_NUMBER),
        ((-2, 0), "row 0 has -2 in column 'label'; expected a class number from 0, or -1 for none"),
        ((True, 1), "row 1 has 1 in column 'label'; expected true or false, as row 0 has"),
        (("1", "1.0"), "row 1 has '1.0' in column 'label'; expected one spelling of a number; '1' is it too"),
    ],
)
def test_values_that_are_no_class_are_refused(values: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        labels_of(*values)


def test_classes_that_are_told_are_found_by_number_and_by_name() -> None:
    found = labels_of(1, "ant", -1, 1.0, known=("ant", "bee"))
    assert (found.classes, names(found)) == (("ant", "bee"), ["bee", "ant", None, "bee"])
    for wrong in (2, "cow", True):
        with pytest.raises(UsageError, match="expected one of 2 classes, by number from 0 or by name"):
            labels_of(wrong, known=("ant", "bee"))


def test_what_is_read_in_a_doubtful_way_is_told() -> None:
    tally = Tally()
    labels_of("cat", "nan", "cat|dog", "dog", "-1", "-1", tally=tally)
    assert {(found.what, found.count, found.example) for found in tally.noted} == {
        ("rows of a class whose name may mean none (--unknown)", 3, "-1"),
        ("rows of a class whose name may mean several (--target multilabel)", 1, "cat|dog"),
    }


def test_a_value_that_is_called_unknown_is_no_label() -> None:
    assert names(labels_of("cat", "?", "dog", unknown=("?",))) == ["cat", None, "dog"]
    assert names(labels_of("1", "-1.0", "0", unknown=("-1",))) == ["1", None, "0"]
    with pytest.raises(UsageError, match="csv 'x': --unknown -1: no value of label is that; leave it out"):
        labels_of("cat", unknown=("-1",))


MULTI: dict[str, Any] = {"target": "multilabel"}


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (("cat,dog", "dog", ""), ("cat", "dog")),
        (("cat|dog", "dog| cow"), ("cat", "cow", "dog")),
        (("cat; dog", "hat, black;"), ("cat", "dog", "hat, black")),
        (("10;9", "9"), ("9", "10")),
        (("cat", "dog"), ("cat", "dog")),
    ],
)
def test_a_separator_is_found_and_shown(cells: tuple[str, ...], classes: tuple[str, ...]) -> None:
    tally = Tally()
    found = labels_of(*cells, tally=tally, **MULTI)
    assert found.classes == classes
    sign = next((sign for sign in ";|," if any(sign in cell for cell in cells)), None)
    for cell, target in zip(cells, found.targets, strict=True):
        wanted = {part.strip() for part in cell.split(sign or "\0")} - {""}
        assert target == (tuple(float(name in wanted) for name in classes) if cell else None)
    noted = tally.noted
    assert [found.what for found in noted] == ([f"cells with several classes, parted by {sign!r}"] if sign else [])


def test_a_separator_is_told_or_refused() -> None:
    assert labels_of("a|b,c", separator="|", **MULTI).classes == ("a", "b,c")
    with pytest.raises(
        UsageError, match=r"column 'label' has 'a\|b' and 'c,d'; say which sign .* --separator '\|' or ','"
    ):
        labels_of("a|b", "c,d", **MULTI)
    with pytest.raises(UsageError, match="--separator ':' is in no cell of 'label'"):
        labels_of("a|b", separator=":", **MULTI)
    with pytest.raises(UsageError, match="--separator is for --target multilabel with one column"):
        labels_of("a|b", separator="|")


def columns_of(*rows: tuple, **columns: object) -> Labels:
    cells = Cells(("wet", "cold"), rows, "csv 'x'", "row {}".format)
    return read_labels(cells, Columns(**columns), Tally())  # type: ignore[arg-type]


def test_flags_are_words_numbers_or_booleans_and_may_be_unknown() -> None:
    rows = (("True", "false"), (True, 0), ("1.0", "0"), ("", ""))
    assert columns_of(*rows, **MULTI).targets == [(1, 0), (1, 0), (1, 0), None]
    rows = (("1.0", "-1.0"), ("-1", "-1"), ("0", "1"))
    assert columns_of(*rows, unknown=("-1",), **MULTI).targets == [(1, None), None, (0, 1)]
    assert columns_of(("1", ""), ("0", "-1"), unknown=("-1", ""), **MULTI).targets == [(1, None), (0, None)]
    with pytest.raises(UsageError, match=r"row 0 has .-1.; expected 0 or 1 .* or --unknown -1 where that means it"):
        columns_of(("1", "-1"), **MULTI)
    assert columns_of(("1", "-1"), ("2", "3"), unknown=("-1",), target="regression").targets == [None, (2, 3)]


def test_a_list_of_flags_is_a_flag_for_each_class() -> None:
    assert labels_of([True, False], None, [False, False], **MULTI).targets == [(1, 0), None, (0, 0)]
    assert labels_of([1, -1, 0], unknown=("-1",), **MULTI).targets == [(1, None, 0)]
    assert labels_of([True, False], known=("ant", "bee"), **MULTI).classes == ("ant", "bee")


def parquet(path: Path, labels: pa.Array, classes: tuple[str, ...] = (), **more: list) -> str:
    image = pa.array([{"bytes": f"{path.stem}{row}".encode(), "path": None} for row in range(len(labels))])
    table = pa.table({"image": image, "label": labels, **more})
    features = {"info": {"features": {"label": {"names": list(classes), "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(features)} if classes else None), path)
    return f"parquet:{path.parent}"


def said(source: Source) -> dict[bytes, str | None]:
    return {
        source.read(row): None if sample.label is None else source.classes[sample.label]
        for row, sample in enumerate(source.samples)
    }


def test_the_types_of_parquet(tmp_path: Path) -> None:
    for labels, classes in (
        (pa.array([True, False, None]), ("False", "True")),
        (pa.array([1.0, 0.0, None]), ("0", "1")),
        (pa.array([Decimal("1.0"), Decimal("0.0"), None]), ("0", "1")),
        (pa.array([[1], [0], None]), ("0", "1")),
        (pa.array(["b", "a", None]).dictionary_encode(), ("a", "b")),
        (pa.array([2022, 2019, -1]), ("2019", "2022")),
        (pa.array(["0.5", "0.25", None]), ("0.25", "0.5")),
    ):
        source = open_source(parquet(tmp_path / "x.parquet", labels))
        assert (source.classes, [sample.label for sample in source.samples]) == (classes, [1, 0, None])
    parquet(tmp_path / "x.parquet", pa.array([0.5]))
    with pytest.raises(UsageError, match=r"x.parquet: row 0 has 0.5 in column 'label'; .* --target regression"):
        open_source(str(tmp_path))


def test_class_names_in_some_files_only_or_in_another_order(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", pa.array([0, 1]))
    parquet(tmp_path / "train-1.parquet", pa.array([1]), ("ant", "bee"))
    text = parquet(tmp_path / "test.parquet", pa.array([1, 0]), ("ant", "bee"))
    source = open_source(text)
    assert said(source) == {
        b"test0": "bee",
        b"test1": "ant",
        b"train-00": "ant",
        b"train-01": "bee",
        b"train-10": "bee",
    }
    assert ("files without class names, which other files tell", 1) in [
        (found.what, found.count) for found in source.tally.noted
    ]
    parquet(tmp_path / "train-0.parquet", pa.array([0, 1]), ("cow", "bee"))
    assert said(open_source(text))[b"train-00"] == "cow"
    assert said(open_source(text))[b"train-01"] == "bee"
    parquet(tmp_path / "train-1.parquet", pa.array([1]))
    with pytest.raises(UsageError, match="class names differ, and stand in 2 of 3 files; write them into all"):
        open_source(text)


def test_two_classes_of_one_name_stay_two(tmp_path: Path) -> None:
    text = parquet(tmp_path / "train.parquet", pa.array([0, 2]), ("crane", "bee", "crane"))
    assert [sample.label for sample in open_source(text).samples] == [0, 2]


def test_a_column_called_split_is_not_overlooked(tmp_path: Path) -> None:
    text = parquet(tmp_path / "x.parquet", pa.array([0, 1]), split=["train", "TEST"])
    assert [sample.split for sample in open_source(text).samples] == ["train", "test"]
    (tmp_path / "x.parquet").rename(tmp_path / "train.parquet")
    with pytest.raises(UsageError, match="is named 'train', and its column 'split' says 'test'"):
        open_source(text)
    assert [sample.split for sample in open_source(text, Columns(split="split")).samples] == ["train", "test"]
    parquet(tmp_path / "train.parquet", pa.array([0, 1]), split=[0, 1])
    assert [sample.split for sample in open_source(text).samples] == ["train", "train"]
