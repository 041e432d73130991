"""Images in a folder for each class, either directly (ImageFolder) or below train/, test/ and validation/ (or val/)."""

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from icecore.store import Sample, UsageError

from ..columns import DEFAULT, Columns
from ..decoding import EXTENSIONS, decode_image
from ..splits import SPLITS
from ..tally import Tally

EXPECTED = "expected a folder for each class with images in it, or such folders below train/, test/, validation/"


class FolderSource:
    """A folder of images; keys are paths below it, sorted. Without split folders, all of it is train."""

    kind = "folder"

    def __init__(self, path: str, _columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        self._root = Path(path)
        if not self._root.is_dir():
            raise UsageError(f"folder {path!r}: no such folder; {EXPECTED}")
        found = sorted((file.relative_to(self._root).as_posix(), split, name) for split, name, file in self._find())
        if not found:
            raise UsageError(f"folder {path!r}: holds no images; {EXPECTED}")
        self.classes = tuple(sorted({name for _, _, name in found}))
        label = {name: index for index, name in enumerate(self.classes)}
        self.samples = tuple(Sample(key, label[name], split) for key, split, name in found)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Say whether there is an image in some folder below the path."""
        return path.is_dir() and any(next(_images(child), None) for child in _folders(path))

    def read(self, row: int) -> bytes:
        """Return the bytes of one image file."""
        return (self._root / self.samples[row].key).read_bytes()

    def decode(self, data: bytes) -> Image.Image:
        """Return the RGB image of a file's bytes."""
        return decode_image(data)

    def _find(self) -> Iterator[tuple[str, str, Path]]:
        """Yield split, class and file of every image."""
        for split, folder in self._split_folders():
            stray = next((file for file in folder.iterdir() if _is_image(file.name) and file.is_file()), None)
            if stray is not None:
                raise UsageError(f"folder {str(folder)!r}: {stray.name!r} is in no class; {EXPECTED}")
            for class_folder in _folders(folder):
                yield from ((split, class_folder.name, file) for file in _images(class_folder))

    def _split_folders(self) -> list[tuple[str, Path]]:
        folders = _folders(self._root)
        named = [(SPLITS[folder.name.lower()], folder) for folder in folders if folder.name.lower() in SPLITS]
        if len(named) == len(folders):
            return named
        if len(named) > 1:  # one alone may be a class: 'train' among vehicles
            others = sorted(folder.name for folder in folders if folder.name.lower() not in SPLITS)
            raise UsageError(
                f"folder {str(self._root)!r}: {others[0]!r} is no split, but its neighbours are; {EXPECTED}"
            )
        return [("train", self._root)]


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images(path: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names if _is_image(name))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122  twice as fast
