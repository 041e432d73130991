"""A manifest with the columns path, label, split and, if there are groups, group; images lie beside or below it."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding import decode_image
from ..splits import SPLITS

EXPECTED = "expected a CSV file with a header and the columns path, label, split[, group]"


class CsvSource:
    """The images of a CSV manifest, sorted by split and path; keys are the paths, relative to the manifest.

    An empty label means that the row has none. Classes are in the order of their names, or of their numbers.
    """

    kind = "csv"

    def __init__(self, path: str) -> None:
        self._manifest = Path(path)
        if not self._manifest.is_file():
            raise UsageError(f"csv {path!r}: no such file; {EXPECTED}")
        rows = sorted(self._rows(), key=lambda row: (row["split"], row["path"]))
        if not rows:
            raise UsageError(f"csv {path!r}: lists no images; {EXPECTED}")
        names = {row["label"] for row in rows if row["label"]}
        self.classes = tuple(sorted(names, key=_by_number if all(map(str.isdecimal, names)) else None))
        label = {name: index for index, name in enumerate(self.classes)}
        self.samples = tuple(
            Sample(row["path"], label.get(row["label"]), row["split"], row.get("group") or None) for row in rows
        )

    @staticmethod
    def recognises(path: Path) -> bool:
        """Say whether the path is a file named `*.csv`."""
        return path.is_file() and path.suffix.lower() == ".csv"

    def read(self, row: int) -> bytes:
        """Return the bytes of one image file."""
        return (self._manifest.parent / self.samples[row].key).read_bytes()

    def decode(self, data: bytes) -> Image.Image:
        """Return the RGB image of a file's bytes."""
        return decode_image(data)

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
                yield row | {"split": _split(row["split"], where)}

    def _check_header(self, columns: Sequence[str]) -> None:
        lacking = [name for name in ("path", "label", "split") if name not in columns]
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
