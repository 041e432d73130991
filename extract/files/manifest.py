"""Reads manifests: CSV files as spreadsheets and pandas write them, and files with one JSON object a line."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icecore.store import UsageError

from .tally import Tally

DELIMITERS = (",", ";", "\t", "|")
MARKS = {b"\xef\xbb\xbf": "UTF-8-SIG", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}  # byte order marks
LONGEST_FIELD = 1 << 24  # characters


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a manifest: its place for error messages (file and line), and its values by column or field."""

    where: str
    fields: dict[str, Any]


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark; UsageError for any other."""
    return decode_text(path.read_bytes(), str(path))


def decode_text(data: bytes, where: str) -> str:
    """Return the text of bytes in UTF-8, or in UTF-16 with a byte order mark; UsageError for any other."""
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "UTF-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{where}, line {line}: byte 0x{data[error.start]:02x} is no {encoding} text; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise UsageError(f"{where}: holds zero bytes, which is no text; save it as UTF-8")
    return text


def read_csv(path: Path, needed: Sequence[str], tally: Tally) -> tuple[list[str], list[Line]]:
    """Return the header and the rows of a CSV file, without spaces around names and values.

    The delimiter is a comma, a semicolon, a tab or `|`: the one that finds most of the `needed` columns in the header.

    Raises:
        UsageError: a needed column is lacking or occurs twice, or a line cannot be read; with the line number.
    """
    text = read_text(path)
    csv.field_size_limit(LONGEST_FIELD)
    delimiter = _delimiter(text, needed)
    header: list[str] | None = None
    lines: list[Line] = []
    for number, fields in _records(text, delimiter, path):
        if header is None:
            header = fields
            _check_header(header, needed, path)
            continue
        if len(fields) != len(header):
            raise UsageError(
                f"{path}, line {number}: has another number of fields ({len(fields)}) than the header "
                f"({len(header)}); quote what holds a delimiter or a line break"
            )
        lines.append(Line(f"{path}, line {number}", dict(zip(header, fields, strict=True))))
    if header is None:
        _check_header([], needed, path)
    if delimiter != ",":
        tally.note(f"columns parted by {delimiter!r}", path.name)
    return header or [], lines


def read_json_lines(path: Path, needed: Sequence[str]) -> tuple[list[str], list[Line]]:
    """Return the names of all fields, and the objects of a file with one JSON object a line.

    Raises:
        UsageError: a line is no JSON object or lacks a needed field; with the line number.
    """
    lines: list[Line] = []
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise UsageError(f"{path}, line {number}: is no JSON object; expected one a line")
        lacking = [name for name in needed if name not in fields]
        if lacking:
            raise UsageError(f"{path}, line {number}: no field {lacking[0]!r} among {list(fields)}")
        lines.append(Line(f"{path}, line {number}", fields))
    return list(dict.fromkeys(name for line in lines for name in line.fields)), lines


def _delimiter(text: str, needed: Sequence[str]) -> str:
    """Return the delimiter that finds most of the needed columns in the header; on a tie the first of DELIMITERS."""
    first = re.split("[\r\n]", text.lstrip("\r\n"), maxsplit=1)[:1]

    def num_found(delimiter: str) -> int:
        header = next(csv.reader(first, delimiter=delimiter, skipinitialspace=True), [])
        return len(set(needed) & {name.strip() for name in header})

    return max(DELIMITERS, key=num_found)


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield every record that is not blank: the number of its first line, and its fields."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    before = 0
    try:
        for fields in reader:
            number, before = before + 1, reader.line_num
            if any(field.strip() for field in fields) or len(fields) > 1:
                yield number, [field.strip() for field in fields]
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {before + 1}: {error}; expected fields in quotes to end, and lines after them"
        ) from None


def _check_header(header: Sequence[str], needed: Sequence[str], path: Path) -> None:
    for name in needed:
        if header.count(name) != 1:
            what = "two columns" if name in header else "no column"
            raise UsageError(
                f"{path}: {what} {name!r} among {list(header)}; name those that are there with --path-column, "
                "--label-column, --split-column or --group-column"
            )
