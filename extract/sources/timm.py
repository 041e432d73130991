"""The source `timm:`, data sets that timm reads: folders, tar files, torchvision's and Hugging Face's data sets.

Forms: `timm:PATH`, `timm:torch/NAME:ROOT`, `timm:hfds/NAME[:CACHE]`. Only `hfds/` downloads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding.decode import decode_image
from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.tally import Tally
from ..files.walk import images_below, readable
from ..labels.cells import Cells
from ..labels.class_names import common_classes
from ..labels.columns import DEFAULT, Columns
from ..labels.labels import read_labels
from ..labels.splits import folder_splits, split_of

EXPECTED = "expected timm:PATH of images, timm:torch/NAME:ROOT or timm:hfds/NAME"
IN_ORDER_ONLY = ("tfds", "hfids", "wds")
SPLITS = ("train", "validation", "test")
FOLDERS = ("image_folder", "folder")  # torchvision names; without a folder of the split, timm reads the folder above
RAW = b"icecore RGB "  # begins the bytes of a decoded image; width, height and RGB values follow


@dataclass(frozen=True, slots=True)
class _Part:
    split: str
    data: Any  # indexed: (bytes or image, label)
    rows: range | list[int]  # indices of the data that are used

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names by number; empty where the reader has none."""
        named = getattr(self.data, "class_to_idx", None) or getattr(self.data, "class_name_to_idx", None) or {}
        is_whole = sorted(named.values()) == list(range(len(named)))
        return tuple(sorted(named, key=named.get)) if is_whole else ()  # type: ignore[arg-type]


class TimmSource:
    """The samples of one data set, split after split; keys are `SPLIT/NUMBER[-NAME]`.

    A class has one number in all splits, by its name. Where a reader gives decoded images, the source bytes are their
    RGB values.
    """

    kind = "timm"

    def __init__(self, path: str, _columns: Columns = DEFAULT) -> None:
        self.tally, where = Tally(), f"timm {path!r}"
        prefix, _, rest = path.partition("/")
        if prefix in IN_ORDER_ONLY:
            raise UsageError(
                f"{where}: {prefix}/ is read in order only, and a store needs any row at any time; "
                "export it as WebDataset and use wds:"
            )
        open_parts = {"torch": _torch, "hfds": _hugging_face}.get(prefix)
        try:
            self._parts = list(open_parts(rest) if open_parts else _files(path, where, self.tally))
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"{where}: {' '.join(str(error).split())}; {EXPECTED}") from None
        self._places = [(part, row) for part in self._parts for row in part.rows]
        if not self._places:
            raise UsageError(f"{where}: holds no images; {EXPECTED}")
        keys = _keys(self._places)
        known, numbers = common_classes([part.classes for part in self._parts], where, self.tally)
        values = [
            [value if number is None else number[value]]
            for part, number in zip(self._parts, numbers, strict=True)
            for value in _labels(part)
        ]
        cells = Cells(("label",), values, where, lambda row: f"{where}: {keys[row]!r}", numeric_texts=False)
        found = read_labels(cells, DEFAULT, self.tally, known)
        self.classes = found.classes
        told = zip(keys, found.labels, self._places, strict=True)
        self.samples = tuple(Sample(key, label, part.split) for key, label, (part, _) in told)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return False: for a bare path the other kinds are better, because their keys keep the file names."""
        return False

    def read(self, row: int) -> bytes:
        """Return the source bytes of one image."""
        part, part_row = self._places[row]
        image = part.data[part_row][0]
        if isinstance(image, Image.Image):
            return _raw(image)
        with image:
            return image.read()

    def decode(self, data: bytes, rules: Decoding | None = RULES) -> Image.Image:
        """Return the RGB image of source bytes."""
        if not data.startswith(RAW):
            return decode_image(data, rules)
        width, height = np.frombuffer(data, "<u4", 2, len(RAW)).tolist()
        return Image.frombytes("RGB", (width, height), data[len(RAW) + 8 :])


def _files(path: str, where: str, tally: Tally) -> Iterator[_Part]:
    """Open a tar file, or a folder with a part for the folder of each split."""
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError("no such file or folder")
    if root.is_file():
        yield _part(split_of(root.name, where) or "train", root, None, where, tally)
        return
    images = images_below(root, tally)
    folders: dict[str, bool] = {}
    for parts in (image.split("/") for image in images if "/" in image):
        folders[parts[0]] = folders.get(parts[0], False) or len(parts) == 2
    splits = folder_splits(folders, where)
    if not splits:
        yield _part("train", root, images, where, tally)
    for name in sorted(splits, key=lambda name: (SPLITS.index(splits[name]), name)):
        inside = [image.removeprefix(f"{name}/") for image in images if image.startswith(f"{name}/")]
        yield _part(splits[name], root / name, inside, where, tally)


def _part(split: str, root: Path, images: list[str] | None, where: str, tally: Tally) -> _Part:
    """Open a folder or tar file as one split; in a folder use the images that timm finds and that are not hidden."""
    from timm.data.readers.reader_factory import create_reader

    data = create_reader("", root=str(root))
    if images is None:
        return _Part(split, data, range(len(data)))
    names, wanted = [data.filename(row) for row in range(len(data))], set(images)
    for image in sorted(wanted - set(names)):
        tally.pass_over(f"images ending in {PurePosixPath(image).suffix.lower()}, which timm does not read", image)
    stray = next((image for image in images if "/" not in image), None)
    if stray is not None:
        raise UsageError(f"{where}: {readable(stray)!r} in {root} is in no class; {EXPECTED}")
    return _Part(split, data, [row for row, name in enumerate(names) if name in wanted])


def _torch(text: str) -> Iterator[_Part]:
    from timm.data.dataset_factory import create_dataset

    name, _, root = text.partition(":")
    for split in ("train", "test"):
        try:
            data: Any = create_dataset(f"torch/{name}", root=root or ".", split=split)
        except AssertionError as error:  # raised by timm for an unknown name
            raise ValueError(str(error)) from None
        if split == "train" or name not in FOLDERS or Path(data.root) != Path(root or "."):
            yield _Part(split, data, range(len(data)))


def _hugging_face(text: str) -> Iterator[_Part]:
    """Open every split of the data set; splits with unusual names keep their names."""
    from datasets import get_dataset_split_names
    from timm.data.readers.reader_factory import create_reader

    name, _, cache = text.partition(":")
    named = {split: split_of(split, f"timm 'hfds/{text}'") or split for split in get_dataset_split_names(name)}
    for split in sorted(named, key=lambda split: (SPLITS.index(named[split]) if named[split] in SPLITS else 9, split)):
        data = create_reader(f"hfds/{name}", root=cache or None, split=split)
        yield _Part(named[split], data, range(len(data)))


def _labels(part: _Part) -> list[Any]:
    """Return the label of every row, without reading images where the reader lists the labels."""
    data = part.data
    for name in ("samples", "targets"):
        told = getattr(data, name, None)
        if told is not None and len(told) == len(data):
            labels = [entry[1] if isinstance(entry, tuple) else entry for entry in told]
            break
    else:
        column = getattr(getattr(data, "dataset", None), "features", {}) and data.dataset[data.label_key]
        labels = list(column) if column else [data[row][1] for row in range(len(data))]
    return [label.item() if hasattr(label, "item") else label for label in (labels[row] for row in part.rows)]


def _keys(places: list[tuple[_Part, int]]) -> list[str]:
    """Return the key of every row: its split, its number within the split, and its file name."""
    counts: dict[str, int] = {}
    keys = []
    for part, row in places:
        number = counts[part.split] = counts.get(part.split, -1) + 1
        name = part.data.filename(row, basename=True) if hasattr(part.data, "filename") else None
        keys.append(f"{part.split}/{number:06d}" + (f"-{readable(PurePosixPath(str(name)).name)}" if name else ""))
    return keys


def _raw(image: Image.Image) -> bytes:
    image = image.convert("RGB")
    return RAW + np.array(image.size, "<u4").tobytes() + image.tobytes()
