"""A manifest with the columns path, label, split and, if there are groups, group; images lie beside or below it.

The columns may have other names, and several may hold labels.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from icecore.store import Sample, UsageError

from ..columns import DEFAULT, Columns
from ..decoding import decode_image
from ..passing import AbsentError
from ..splits import SPLITS
from ..tally import Tally
from ..targets import Target, targets

EXPECTED = "expected a CSV file with a header and the columns path, label, split[, group]"


class CsvSource:
    """The images of a CSV manifest, sorted by split and path; keys are the paths, relative to the manifest.

    An empty label means that the row has none. Classes are in the order of their names, or of their numbers.
    """

    kind = "csv"

    def __init__(self, path: str, columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        self._manifest = Path(path)
        self._labels = list(columns.label or ("label",))
        self._split, self._group = columns.split or "split", columns.group or "group"
        self._needed = ["path", *self._labels, self._split, *([columns.group] if columns.group else [])]
        if not self._manifest.is_file():
            raise UsageError(f"csv {path!r}: no such file; {EXPECTED}")
        rows = sorted(self._rows(), key=lambda row: (row[self._split], row["path"]))
        if not rows:
            raise UsageError(f"csv {path!r}: lists no images; {EXPECTED}")
        if columns.target == "class":
            self._read_classes(rows)
        else:
            values = [[row[name] for name in self._labels] for row in rows]
            found = targets(columns.target, self._labels, values, f"csv {path!r} (by split and path)")
            self.classes = found.names
            self.samples = tuple(map(self._sample, rows, [None] * len(rows), found.of_rows))

    @staticmethod
    def recognises(path: Path) -> bool:
        """Say whether the path is a file named `*.csv`."""
        return path.is_file() and path.suffix.lower() == ".csv"

    def read(self, row: int) -> bytes:
        """Return the bytes of one image file; AbsentError where its folder is there and the file is not."""
        path = self._manifest.parent / self.samples[row].key
        try:
            return path.read_bytes()
        except FileNotFoundError:
            if path.parent.is_dir():
                raise AbsentError(f"no such file: {path}") from None
            raise

    def decode(self, data: bytes) -> Image.Image:
        """Return the RGB image of a file's bytes."""
        return decode_image(data)

    def _read_classes(self, rows: Sequence[dict[str, str]]) -> None:
        if len(self._labels) > 1:
            raise UsageError(f"{self._manifest}: {len(self._labels)} label columns for one class; choose --target")
        found = [row[self._labels[0]] for row in rows]
        names = set(found) - {""}
        self.classes = tuple(sorted(names, key=_by_number if all(map(str.isdecimal, names)) else None))
        label = {name: index for index, name in enumerate(self.classes)}
        self.samples = tuple(map(self._sample, rows, map(label.get, found), [None] * len(rows)))

    def _sample(self, row: dict[str, str], label: int | None, target: Target) -> Sample:
        return Sample(row["path"], label, row[self._split], row.get(self._group) or None, target=target)

    def _rows(self) -> Iterator[dict[str, str]]:
        """Yield the rows of the manifest, each checked; UsageError with the line number where one is not good."""
        line_of: dict[str, int] = {}
        with self._manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            self._check_header(reader.fieldnames or ())
            for row in reader:
                where = f"{self._manifest}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise UsageError(f"{where}: has another number of fields than the header; quote commas")
                _check_path(row["path"], where)
                if row["path"] in line_of:
                    raise UsageError(f"{where}: {row['path']!r} is listed twice, first in line {line_of[row['path']]}")
                line_of[row["path"]] = reader.line_num
                yield row | {self._split: _split(row[self._split], where)}

    def _check_header(self, columns: Sequence[str]) -> None:
        lacking = [name for name in self._needed if name not in columns]
        if lacking:
            raise UsageError(f"{self._manifest}: no column {lacking[0]!r} among {list(columns)}; {EXPECTED}")


def _by_number(name: str) -> tuple[int, str]:
    return int(name), name


def _check_path(path: str, where: str) -> None:
    parsed = PurePosixPath(path)
    if not path or parsed.is_absolute() or ".." in parsed.parts or "\\" in path:
        raise UsageError(f"{where}: path {path!r}; expected one relative to the manifest, with '/', without '..'")


def _split(name: str, where: str) -> str:
    if not name:
        raise UsageError(f"{where}: no split; expected train, test or validation")
    return SPLITS.get(name.lower(), name)
