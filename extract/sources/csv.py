"""The source `csv:`, a manifest with the columns path, label, split and optionally group.

Images lie beside or below the manifest. Columns may have other names, and several may hold labels.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding.decode import decode_image
from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.manifest import Line, read_csv
from ..files.tally import Tally
from ..labels.columns import DEFAULT, Columns
from ..labels.splits import column_split, file_splits, splits_in
from .listed import Listed, completed, key_of, read_listed, require_once, samples_of

EXPECTED = "expected a CSV file with a header and the columns path, label, split[, group]"


class CsvSource:
    """The images of a CSV manifest, sorted by split and path; keys are the paths, relative to the manifest.

    An empty label means no label. Classes are sorted by name, or by number. Without a column of splits, the names of
    the manifest and of the images' folders give the splits.
    """

    kind = "csv"

    def __init__(self, path: str, columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        manifest = Path(path)
        if not manifest.is_file():
            raise UsageError(f"csv {path!r}: no such file; {EXPECTED}")
        self._folder = manifest.parent
        self.samples, self.classes = self._read(manifest, columns)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return whether the path is a file named `*.csv` or `*.tsv`."""
        return path.is_file() and path.suffix.lower() in (".csv", ".tsv")

    def read(self, row: int) -> bytes:
        """Return the bytes of one image file; AbsentError where its folder exists and the file does not."""
        return read_listed(self._folder / self.samples[row].key)

    def decode(self, data: bytes, rules: Decoding | None = RULES) -> Image.Image:
        """Return the RGB image of a file's bytes."""
        return decode_image(data, rules)

    def _read(self, manifest: Path, columns: Columns) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
        path, labels = columns.path or "path", columns.label or ("label",)
        needed = [path, *labels, *filter(None, (columns.split, columns.group))]
        header, lines = read_csv(manifest, needed, self.tally)
        if not lines:
            raise UsageError(f"csv {str(manifest)!r}: lists no images; {EXPECTED}")
        keys = [key_of(line.fields[path], self._folder, line.where) for line in lines]
        keys = completed(keys, self._folder, lines, self.tally)
        splits = _splits(manifest, columns.split or "split", header, lines, keys)
        listed = [Listed(line, key, split) for line, key, split in zip(lines, keys, splits, strict=True)]
        require_once(listed, labels)
        listed.sort(key=lambda image: (image.split, image.key))
        return samples_of(listed, columns, f"csv {str(manifest)!r}", self.tally)


def _splits(
    manifest: Path, column: str, header: Sequence[str], lines: Sequence[Line], keys: Sequence[str]
) -> list[str]:
    """Return the split of every row by its column, else by the names of the manifest and of the image's folders."""
    if column in header:
        return [column_split(line.fields[column], line.where) for line in lines]
    names = [PurePosixPath(manifest.stem, *PurePosixPath(key).parts[:-1]) for key in keys]
    if not any(splits_in(name.as_posix()) for name in names):
        raise UsageError(
            f"{manifest}: no column {column!r} among {list(header)}, and no split in the names of the manifest or of "
            f"folders; name the column with --split-column; {EXPECTED}"
        )
    return file_splits(names, str(manifest))
