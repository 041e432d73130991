"""The source `folder:`, with a folder for each class, at the top or below folders of splits such as `birds_test/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding.decode import decode_image
from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.tally import Tally
from ..files.walk import images_below, is_image, readable, walk
from ..labels.class_names import one_spelling
from ..labels.columns import DEFAULT, Columns
from ..labels.splits import folder_splits, require_no_split, splits_in

EXPECTED = "expected a folder for each class with images in it, or such folders below train/, test/, validation/"


class FolderSource:
    """The images below a folder; keys are the sorted relative paths. Without folders of splits, all images are train.

    Linked folders are followed. Hidden files, other files and folders without images are left out and counted.
    """

    kind = "folder"

    def __init__(self, path: str, _columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        self._root = Path(path)
        if not self._root.is_dir():
            raise UsageError(f"folder {path!r}: no such folder; {EXPECTED}")
        found = sorted(_split_and_class(images_below(self._root, self.tally), f"folder {path!r}", self.tally))
        if not found:
            raise UsageError(f"folder {path!r}: holds no images; {EXPECTED}")
        self._files = [file for file, _, _ in found]
        names = one_spelling([readable(name) for _, _, name in found], self.tally)
        self.classes = tuple(sorted(set(names)))
        _note_folders_in_class(found, self.tally)
        label = {name: index for index, name in enumerate(self.classes)}
        self.samples = tuple(
            Sample(readable(file), label[name], split) for (file, split, _), name in zip(found, names, strict=True)
        )

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return whether a folder below the path holds an image."""
        return path.is_dir() and any(folder and any(map(is_image, files)) for folder, files in walk(path, Tally()))

    def read(self, row: int) -> bytes:
        """Return the bytes of one image file."""
        return (self._root / self._files[row]).read_bytes()

    def decode(self, data: bytes, rules: Decoding | None = RULES) -> Image.Image:
        """Return the RGB image of a file's bytes."""
        return decode_image(data, rules)


def _split_and_class(files: Sequence[str], where: str, tally: Tally) -> Iterator[tuple[str, str, str]]:
    """Yield the path, the split and the class name of every image."""
    paths = [(file, tuple(file.split("/"))) for file in files]
    folders: dict[str, bool] = {}
    for _, parts in paths:
        if len(parts) > 1:
            folders[parts[0]] = folders.get(parts[0], False) or len(parts) == 2
    splits = folder_splits(folders, where)
    doubled = _doubled(splits, [parts for _, parts in paths])
    for file, parts in paths:
        if splits and len(parts) == 1:
            tally.pass_over("images beside the folders of the splits", readable(file))
            continue
        split, rest = (splits[parts[0]], parts[1:]) if splits else ("train", parts)
        rest = rest[1:] if parts[0] in doubled else rest
        if len(rest) < 2:
            raise UsageError(f"{where}: {readable(file)!r} is in no class; {EXPECTED}")
        require_no_split(rest[1:-1], split, readable(file), where)
        yield file, split, rest[0]


def _note_folders_in_class(found: Sequence[tuple[str, str, str]], tally: Tally) -> None:
    """Note folders within the only class: they may be the classes, as in `train/images/cat/`."""
    if len({name for _, _, name in found}) > 1:
        return
    for file, _, name in found:
        parts = file.split("/")
        if parts[-2] != name:
            tally.note(f"images in folders below {name!r}, the only class", readable(file))


def _doubled(splits: dict[str, str], paths: Sequence[tuple[str, ...]]) -> set[str]:
    """Return the split folders whose only content is another folder of the same split, as in `seg_test/seg_test/`."""
    inside: dict[str, set[str]] = {}
    for parts in paths:
        if parts[0] in splits:
            inside.setdefault(parts[0], set()).add(parts[1] if len(parts) > 3 else "")
    return {folder for folder, (name, *others) in inside.items() if not others and splits_in(name) == [splits[folder]]}
