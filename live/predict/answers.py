"""Predictions as lines of a file or a pipe: JSON lines, CSV, or Parquet."""

import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator
from io import TextIOBase
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from icecore.store import choose, require_file

from .prediction import Prediction

COLUMNS = ("key", "label", "probability", "error", "outputs", "bundle")
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float32()),
        ("error", pa.string()),
        ("outputs", pa.map_(pa.string(), pa.float64())),
        ("bundle", pa.string()),
    ]
)
LONGEST_LINE = 1 << 20  # that is looked at in a file that is there already
ROWS_AT_ONCE = 4096  # in a row group of Parquet


class Answers:
    """Where predictions go, one after another."""

    def add(self, prediction: Prediction) -> None:
        """Write one."""
        raise NotImplementedError

    def end(self) -> None:
        """Write what is left."""


class JsonLines(Answers):
    """One object a line: key, label, probability; error, outputs and bundle where there are."""

    def __init__(self, file: TextIOBase) -> None:
        self._file = file

    def add(self, prediction: Prediction) -> None:
        """Write a line."""
        optional = ("error", "outputs", "bundle")
        fields = dataclasses.asdict(prediction).items()
        row = {name: value for name, value in fields if name not in optional or value is not None}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


class Csv(Answers):
    """A header and a line each; outputs as JSON in one column."""

    def __init__(self, file: TextIOBase) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def add(self, prediction: Prediction) -> None:
        """Write a line."""
        row = dataclasses.asdict(prediction)
        row["outputs"] = None if row["outputs"] is None else json.dumps(row["outputs"])
        self._writer.writerow([row[name] for name in COLUMNS])


class Parquet(Answers):
    """A table of SCHEMA."""

    def __init__(self, path: Path) -> None:
        self._rows: list[dict[str, object]] = []
        self._writer = pq.ParquetWriter(path, SCHEMA)

    def add(self, prediction: Prediction) -> None:
        """Keep it until there are enough for a row group."""
        row = dataclasses.asdict(prediction)
        row["outputs"] = None if row["outputs"] is None else list(row["outputs"].items())
        self._rows.append(row)
        if len(self._rows) == ROWS_AT_ONCE:
            self._flush()

    def end(self) -> None:
        """Write the rest and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows = []


FORMATS: dict[str, type[Answers]] = {"jsonl": JsonLines, "csv": Csv, "parquet": Parquet}


@contextlib.contextmanager
def open_answers(path: Path) -> Iterator[Answers]:
    """Open a file whose ending says what it is to be; it appears when the context ends well, and not before.

    Raises:
        UsageError: another ending, a folder that is not there, or something else in the place of the file.
    """
    choose(FORMATS, path.suffix.removeprefix("."), f"kind of file of {str(path)!r}")
    require_file(path, _is_answers, "a file of answers of icecore predict")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        if path.suffix == ".parquet":
            yield from _into(Parquet(unfinished))
        else:
            kind = Csv if path.suffix == ".csv" else JsonLines
            with unfinished.open("w", encoding="utf-8", newline="") as file:
                yield from _into(kind(file))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _is_answers(path: Path) -> bool:
    """Say whether a file, by its ending, is one that was written here."""
    try:
        if path.suffix == ".parquet":
            return tuple(pq.read_schema(path).names) == COLUMNS
        with path.open(encoding="utf-8") as file:
            line = file.readline(LONGEST_LINE)
        return (
            line == ",".join(COLUMNS) + "\n" if path.suffix == ".csv" else {"key", "label"} <= json.loads(line).keys()
        )
    except (ValueError, AttributeError):  # pyarrow's errors, UTF-8 and JSON are ValueErrors
        return False


def _into(answers: Answers) -> Iterator[Answers]:
    yield answers
    answers.end()
