"""The source `imagefolder:`, Hugging Face's ImageFolder with `metadata.csv` or `metadata.jsonl` beside the images.

There is one such file for all images, or one in the folder of each split; the folder's name gives the split.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding.decode import decode_image
from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.manifest import Line, read_csv, read_json_lines
from ..files.tally import Tally
from ..files.walk import is_image, walk
from ..labels.columns import DEFAULT, Columns
from ..labels.splits import column_split, file_splits
from .listed import Listed, key_of, read_listed, require_once, samples_of

NAMES = ("metadata.csv", "metadata.jsonl")
EXPECTED = "expected metadata.csv or metadata.jsonl with file_name and label, in one folder or in that of each split"


class ImageFolderSource:
    """The images that metadata files list, sorted by split and path; keys are the paths below the folder."""

    kind = "imagefolder"

    def __init__(self, path: str, columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        self._root = Path(path)
        if not self._root.is_dir():
            raise UsageError(f"imagefolder {path!r}: no such folder; {EXPECTED}")
        manifests, images = self._find()
        if not manifests:
            raise UsageError(f"imagefolder {path!r}: holds no metadata; {EXPECTED}")
        self.samples, self.classes = self._read(manifests, columns, f"imagefolder {path!r}")
        for file in sorted(set(images) - {PurePosixPath(sample.key).as_posix() for sample in self.samples}):
            self.tally.pass_over("images that no metadata lists", file)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return whether the folder, or a folder in it, has metadata that lists files."""
        return path.is_dir() and any(
            _lists_files(folder / name) for folder in (path, *filter(Path.is_dir, path.iterdir())) for name in NAMES
        )

    def read(self, row: int) -> bytes:
        """Return the bytes of one image file; AbsentError where its folder exists and the file does not."""
        return read_listed(self._root / self.samples[row].key)

    def decode(self, data: bytes, rules: Decoding | None = RULES) -> Image.Image:
        """Return the RGB image of a file's bytes."""
        return decode_image(data, rules)

    def _find(self) -> tuple[list[PurePosixPath], list[str]]:
        """Return the metadata files and the images below the folder."""
        manifests, images = [], []
        for folder, files in walk(self._root, self.tally):
            manifests += [PurePosixPath(folder, file) for file in files if file in NAMES]
            images += [PurePosixPath(folder, file).as_posix() for file in files if is_image(file)]
        return manifests, images

    def _read(
        self, manifests: list[PurePosixPath], columns: Columns, where: str
    ) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
        lines, keys = [], []
        for manifest in manifests:
            folder = self._root / manifest.parent
            for line in self._lines(self._root / manifest, columns):
                key = key_of(str(line.fields[columns.path or "file_name"]), folder, line.where)
                keys.append((manifest.parent / key).as_posix())
                lines.append(line)
        if not lines:
            raise UsageError(f"{where}: lists no images; {EXPECTED}")
        splits = _splits(lines, keys, columns.split or "split", where)
        listed = sorted(map(Listed, lines, keys, splits), key=lambda image: (image.split, image.key))
        require_once(listed, columns.label or ("label",))
        return samples_of(listed, columns, where, self.tally)

    def _lines(self, manifest: Path, columns: Columns) -> list[Line]:
        needed = [columns.path or "file_name", *(columns.label or ("label",))]
        needed += filter(None, (columns.split, columns.group))
        if manifest.suffix == ".csv":
            return read_csv(manifest, needed, self.tally)[1]
        return read_json_lines(manifest, needed)[1]


def _splits(lines: Sequence[Line], keys: Sequence[str], column: str, where: str) -> list[str]:
    """Return the split of every row by its column where there is one, else by the folder of its image."""
    if all(column in line.fields for line in lines):
        return [column_split(line.fields[column], line.where) for line in lines]
    return file_splits([PurePosixPath(key).parent for key in keys], where)


def _lists_files(path: Path) -> bool:
    """Return whether the file exists and its first line has the column name `file_name`."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"file_name" in file.readline().replace(b"\0", b"")
