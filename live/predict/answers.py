"""Writers of predictions: JSON lines, CSV or Parquet."""

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
LONGEST_LINE = 1 << 20  # characters read of an existing file to recognise it
ROWS_AT_ONCE = 4096  # rows in a Parquet row group


class Answers:
    """The contract of a writer of predictions."""

    def add(self, prediction: Prediction) -> None:
        """Write one prediction."""
        raise NotImplementedError

    def end(self) -> None:
        """Write buffered predictions and finish the file."""


class JsonLines(Answers):
    """One JSON object a line with key, label and probability; error, outputs and bundle where they are not None."""

    def __init__(self, file: TextIOBase) -> None:
        self._file = file

    def add(self, prediction: Prediction) -> None:
        """Write one line."""
        optional = ("error", "outputs", "bundle")
        fields = dataclasses.asdict(prediction).items()
        row = {name: value for name, value in fields if name not in optional or value is not None}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


class Csv(Answers):
    """A header line, then one line for each prediction; `outputs` is JSON in one column."""

    def __init__(self, file: TextIOBase) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def add(self, prediction: Prediction) -> None:
        """Write one line."""
        row = dataclasses.asdict(prediction)
        row["outputs"] = None if row["outputs"] is None else json.dumps(row["outputs"])
        self._writer.writerow([row[name] for name in COLUMNS])


class Parquet(Answers):
    """A Parquet table with the columns of SCHEMA."""

    def __init__(self, path: Path) -> None:
        self._rows: list[dict[str, object]] = []
        self._writer = pq.ParquetWriter(path, SCHEMA)

    def add(self, prediction: Prediction) -> None:
        """Buffer a prediction; write a row group when ROWS_AT_ONCE are buffered."""
        row = dataclasses.asdict(prediction)
        row["outputs"] = None if row["outputs"] is None else list(row["outputs"].items())
        self._rows.append(row)
        if len(self._rows) == ROWS_AT_ONCE:
            self._flush()

    def end(self) -> None:
        """Write the buffered predictions and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows = []


FORMATS: dict[str, type[Answers]] = {"jsonl": JsonLines, "csv": Csv, "parquet": Parquet}


@contextlib.contextmanager
def open_answers(path: Path) -> Iterator[Answers]:
    """Open a .jsonl, .csv or .parquet file for predictions; the file appears when the context ends without an error.

    Raises:
        UsageError: another ending, a missing folder, or an existing file that does not hold predictions.
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
    """Return whether an existing file holds predictions in the format of its ending."""
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
