"""timm's data set readers: a folder or tar file as timm reads it, torchvision's data sets, and Hugging Face's.

`timm:PATH`, `timm:torch/NAME:ROOT`, `timm:hfds/NAME[:CACHE]`. Nothing is downloaded but by `hfds/`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from icecore.store import Sample, UsageError

from ..columns import DEFAULT, Columns
from ..decoding import decode_image
from ..tally import Tally

EXPECTED = "expected timm:PATH of images, timm:torch/NAME:ROOT or timm:hfds/NAME"
IN_ORDER_ONLY = ("tfds", "hfids", "wds")
SPLITS = ("train", "validation", "test")
RAW = b"icecore RGB "  # a decoded image: this, then width and height, then its bytes


@dataclass(frozen=True, slots=True)
class _Part:
    split: str
    data: Any  # indexed: (bytes or image, label)


class TimmSource:
    """The samples of one data set, split after split; keys are `SPLIT/NUMBER[-NAME]`.

    A reader that gives decoded images has no source bytes: theirs are the RGB values.
    """

    kind = "timm"

    def __init__(self, path: str, _columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        prefix, _, rest = path.partition("/")
        if prefix in IN_ORDER_ONLY:
            raise UsageError(
                f"timm {path!r}: {prefix}/ is read in order only, and a store needs any row at any time; "
                "export it as WebDataset and use wds:"
            )
        open_part = {"torch": _torch, "hfds": _hugging_face}.get(prefix, _files)
        try:
            self._parts = list(open_part(rest if open_part is not _files else path))
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"timm {path!r}: {' '.join(str(error).split())}; {EXPECTED}") from None
        self._places = [(part, row) for part in self._parts for row in range(len(part.data))]
        labels = [label for part in self._parts for label in _labels(part.data)]
        if not labels:
            raise UsageError(f"timm {path!r}: holds no images; {EXPECTED}")
        self.classes = _classes(self._parts[0].data, max(labels))
        self.samples = tuple(
            Sample(_key(part, row), label if label >= 0 else None, part.split)
            for (part, row), label in zip(self._places, labels, strict=True)
        )

    @staticmethod
    def recognises(path: Path) -> bool:
        """Say no: a bare path is of the kinds that keep its names."""
        return False

    def read(self, row: int) -> bytes:
        """Return the bytes of one image."""
        part, place = self._places[row]
        image = part.data[place][0]
        if isinstance(image, Image.Image):
            return _raw(image)
        with image:
            return image.read()

    def decode(self, data: bytes) -> Image.Image:
        """Return the RGB image of some bytes."""
        if not data.startswith(RAW):
            return decode_image(data)
        width, height = np.frombuffer(data, "<u4", 2, len(RAW)).tolist()
        return Image.frombytes("RGB", (width, height), data[len(RAW) + 8 :])


def _files(path: str) -> Iterator[_Part]:
    from timm.data.readers.reader_factory import create_reader

    root = Path(path)
    if not root.exists():
        raise FileNotFoundError("no such file or folder")
    folders = [root / name for name in ("train", "validation", "val", "test") if (root / name).is_dir()]
    for folder in folders or [root]:
        split = {"val": "validation"}.get(folder.name, folder.name) if folders else "train"
        yield _Part(split, create_reader("", root=str(folder)))


def _torch(text: str) -> Iterator[_Part]:
    from timm.data.dataset_factory import create_dataset

    name, _, root = text.partition(":")
    for split in ("train", "test"):
        try:
            yield _Part(split, create_dataset(f"torch/{name}", root=root or ".", split=split))
        except AssertionError as error:  # timm's word for a name that it does not know
            raise ValueError(str(error)) from None


def _hugging_face(text: str) -> Iterator[_Part]:
    from timm.data.readers.reader_factory import create_reader

    name, _, cache = text.partition(":")
    for split in SPLITS:
        try:
            yield _Part(split, create_reader(f"hfds/{name}", root=cache or None, split=split))
        except ValueError:  # this split is not there
            if split == "train":
                raise


def _labels(data: Any) -> list[int]:
    """Return the label of every row, without reading an image where the reader tells."""
    for name in ("samples", "targets"):
        told = getattr(data, name, None)
        if told is not None and len(told) == len(data):
            return [int(entry[1] if isinstance(entry, tuple) else entry) for entry in told]
    column = getattr(getattr(data, "dataset", None), "features", {}) and data.dataset[data.label_key]
    return [int(label) for label in column] if column else [int(data[row][1]) for row in range(len(data))]


def _classes(data: Any, largest: int) -> tuple[str, ...]:
    named = getattr(data, "class_to_idx", None) or {}
    if named and sorted(named.values()) == list(range(len(named))) and len(named) > largest:
        return tuple(sorted(named, key=named.get))  # type: ignore[arg-type]
    return tuple(map(str, range(largest + 1)))


def _key(part: _Part, row: int) -> str:
    name = part.data.filename(row, basename=True) if hasattr(part.data, "filename") else None
    return f"{part.split}/{row:06d}" + (f"-{PurePosixPath(str(name)).name}" if name else "")


def _raw(image: Image.Image) -> bytes:
    image = image.convert("RGB")
    return RAW + np.array(image.size, "<u4").tobytes() + image.tobytes()
