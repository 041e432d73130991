"""WebDataset: tar shards whose members `KEY.png` (or .jpg, .webp) and `KEY.cls` make one sample."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding import EXTENSIONS, decode_image
from ..splits import file_splits

EXPECTED = "expected tar files, not compressed, with members KEY.jpg (or .png) and KEY.cls"
MAX_CLASSES = 1_000_000


@dataclass(slots=True)
class _Members:
    """Where the two members of a sample lie: offset and size in bytes."""

    image: tuple[int, int] | None = None
    label: tuple[int, int] | None = None


class WdsSource:
    """The samples of tar shards in the order of shards and members; keys are `SPLIT/KEY`, unique in all shards.

    Members are read by their offset, in any order. A class is a number, and its name is that number.
    """

    kind = "wds"

    def __init__(self, path: str) -> None:
        root = Path(path)
        shards = _shards(root)
        splits = file_splits([shard.relative_to(root.parent if root.is_file() else root) for shard in shards], path)
        self._places: list[tuple[Path, int, int]] = []
        samples: dict[str, Sample] = {}
        for shard, split in zip(shards, splits, strict=True):
            for key, place, label in _samples(shard):
                key = f"{split}/{key}"
                if key in samples:
                    raise UsageError(f"{shard}: key {key!r} is in an earlier shard too; rename one")
                samples[key] = Sample(key, label, split)
                self._places.append((shard, *place))
        if not samples:
            raise UsageError(f"wds {path!r}: its shards hold no images; {EXPECTED}")
        self.samples = tuple(samples.values())
        self.classes = tuple(map(str, range(max(sample.label or 0 for sample in self.samples) + 1)))

    @staticmethod
    def recognises(path: Path) -> bool:
        """Say whether the path is a tar file, or a folder with tar files directly in it."""
        return path.suffix == ".tar" if path.is_file() else any(path.glob("*.tar"))

    def read(self, row: int) -> bytes:
        """Return the bytes of one image member."""
        return _read(*self._places[row])

    def decode(self, data: bytes) -> Image.Image:
        """Return the RGB image of a member's bytes."""
        return decode_image(data)


def _shards(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise UsageError(f"wds {str(root)!r}: no such file or folder; {EXPECTED}")
    shards = sorted(root.rglob("*.tar"))
    if not shards:
        raise UsageError(f"wds {str(root)!r}: holds no tar files; {EXPECTED}")
    return shards


def _samples(shard: Path) -> Iterator[tuple[str, tuple[int, int], int]]:
    """Yield key, place of the image, and label of each sample of one shard."""
    samples: dict[str, _Members] = {}
    for member in _members(shard):
        name = PurePosixPath(member.name)
        stem, _, extension = name.name.partition(".")
        members = samples.setdefault((name.parent / stem).as_posix(), _Members())
        place = (member.offset_data, member.size)
        if f".{extension.lower()}" in EXTENSIONS:
            if members.image is not None:
                raise UsageError(f"{shard}: {member.name!r} is a second image of its key; expected one a key")
            members.image = place
        elif extension == "cls":
            members.label = place
    for key, members in samples.items():
        if members.image is not None and members.label is not None:
            yield key, members.image, _label(shard, key, _read(shard, *members.label))
        elif members.image is not None or members.label is not None:
            lacking = "image" if members.image is None else ".cls"
            raise UsageError(f"{shard}: key {key!r} has no {lacking} member; {EXPECTED}")


def _members(shard: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the files of one shard; refuse links, and names that lead out of it."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                    raise UsageError(f"{shard}: member {member.name!r} leads out of the archive or is no plain file")
                if member.isfile():
                    yield member
    except tarfile.TarError as error:
        raise UsageError(f"{shard}: {error}; {EXPECTED}") from None


def _label(shard: Path, key: str, data: bytes) -> int:
    text = data.decode("ascii", "replace").strip()
    if not text.isdecimal() or int(text) >= MAX_CLASSES:
        raise UsageError(f"{shard}: {key}.cls holds {text!r}; expected a class number from 0, below {MAX_CLASSES:,}")
    return int(text)


def _read(shard: Path, offset: int, num_bytes: int) -> bytes:
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(num_bytes)
