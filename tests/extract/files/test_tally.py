"""What a source saw is counted by reason, the same in whatever order it was seen."""

from concurrent.futures import ThreadPoolExecutor

from icecore.extract.files.tally import Tally
from icecore.extract.rows.source_report import source_report
from icecore.store import Finding, Sample


def test_counts_and_examples_do_not_hang_on_the_order_or_the_thread() -> None:
    alone, together = Tally(), Tally()
    files = [f"{number:03d}.{ending}" for number in range(101) for ending in ("heic", "txt", "txt2")]
    for file in files:
        alone.pass_over(f"files ending in {file[3:]}", file)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: together.pass_over(f"files ending in {file[3:]}", file), reversed(files)))
    found = source_report(together, [], ())
    assert found == source_report(alone, [], ())
    assert found.passed_over[0] == Finding(what="files ending in .heic", count=101, example="000.heic")


def test_samples_tell_splits_rows_without_label_and_classes_never_trained() -> None:
    samples = [Sample("b", 0, "train"), Sample("a", None, "train"), Sample("c", 1, "test"), Sample("d", None, "test")]
    found = source_report(Tally(), samples, ("ant", "bee", "cow"))
    assert found.splits == (
        Finding(what="test", count=2, example="c"),
        Finding(what="train", count=2, example="a"),
    )
    assert [(one.what, one.count, one.example) for one in found.noted] == [
        ("classes without a row in train", 2, "bee"),
        ("rows of test without a label", 1, "d"),
        ("rows of train without a label", 1, "a"),
    ]
    many = [Sample("a", None, "train", target=(0.0, 1.0)), Sample("b", None, "test", target=(1.0, 1.0))]
    assert source_report(Tally(), many, ("x", "y"), "multilabel").noted[0].example == "x"
    assert source_report(Tally(), many, ("x", "y"), "regression").noted == ()


def test_the_same_bytes_under_two_labels_or_in_two_splits_are_told() -> None:
    samples = [
        Sample("a", 0, "train", sha256="1"),
        Sample("b", 1, "train", sha256="1"),
        Sample("c", 0, "train", sha256="2"),
        Sample("d", 0, "test", sha256="2"),
        Sample("e", 1, "test", sha256="3"),
        Sample("f", 0, "train"),  # listed and not there, as the next one is
        Sample("g", 1, "test"),
    ]
    assert [(one.what, one.count, one.example) for one in source_report(Tally(), samples, ("x", "y")).noted] == [
        ("images whose bytes occur in another split too", 2, "c"),
        ("images whose bytes occur under another label too", 2, "a"),
    ]


def test_classes_that_may_be_one_are_told() -> None:
    names = ("Cat", "cat", "dog ", "dog", "01", "1", "10", "ox")
    told = {one.what: one.count for one in source_report(Tally(), [], names).noted}
    assert told == {"classes whose names differ in case, blanks or leading zeros alone": 6}
