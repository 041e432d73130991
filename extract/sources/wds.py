"""WebDataset: tar shards whose members `KEY.png` (or .jpg, .webp) and `KEY.cls` or `KEY.json` make one sample."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from icecore.store import Sample, UsageError

from ..columns import DEFAULT, Columns
from ..decoding import EXTENSIONS, decode_image
from ..fields import Described, from_fields
from ..splits import file_splits
from ..tally import Tally

EXPECTED = "expected tar files, not compressed, with members KEY.jpg (or .png) and KEY.cls"
MAX_CLASSES = 1_000_000


@dataclass(slots=True)
class _Members:
    """Where the two members of a sample lie: offset and size in bytes."""

    image: tuple[int, int] | None = None
    label: tuple[int, int] | None = None
    fields: tuple[int, int] | None = None


class WdsSource:
    """The samples of tar shards in the order of shards and members; keys are `SPLIT/KEY`, unique in all shards.

    Members are read by their offset, in any order. Without columns a class is the number in `.cls`, and its name is
    that number; with columns, these are fields of `.json`, and a class is what the field says.
    """

    kind = "wds"

    def __init__(self, path: str, columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        root = Path(path)
        shards = _shards(root)
        splits = file_splits([shard.relative_to(root.parent if root.is_file() else root) for shard in shards], path)
        self._places: list[tuple[Path, int, int]] = []
        described: dict[str, tuple[str, Described]] = {}
        for shard, split in zip(shards, splits, strict=True):
            for key, place, fields in _samples(shard, bool(columns.given)):
                key = f"{split}/{key}"
                if key in described:
                    raise UsageError(f"{shard}: key {key!r} is in an earlier shard too; rename one")
                described[key] = split, fields
                self._places.append((shard, *place))
        if not described:
            raise UsageError(f"wds {path!r}: its shards hold no images; {EXPECTED}")
        if columns.given:
            self.samples, self.classes = from_fields(described, columns, f"wds {path!r}")
        else:
            labels = [int(fields["cls"]) for _, fields in described.values()]
            self.samples = tuple(
                Sample(key, label, split) for (key, (split, _)), label in zip(described.items(), labels, strict=True)
            )
            self.classes = tuple(map(str, range(max(labels) + 1)))

    @staticmethod
    def recognises(path: Path) -> bool:
        """Say whether the path is a tar file, or a folder with such files in it or in a folder of it."""
        return path.suffix == ".tar" if path.is_file() else any(path.glob("*.tar")) or any(path.glob("*/*.tar"))

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


def _samples(shard: Path, wants_fields: bool) -> Iterator[tuple[str, tuple[int, int], Described]]:
    """Yield key, place of the image, and what is said of each sample of one shard: its `.json`, else its class."""
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
        elif extension == "json":
            members.fields = place
    for key, members in samples.items():
        told = members.fields if wants_fields else members.label
        if members.image is not None and told is not None:
            data = _read(shard, *told)
            said = _fields(shard, key, data) if wants_fields else {"cls": _label(shard, key, data)}
            yield key, members.image, said
        elif members.image is not None or told is not None:
            lacking = "image" if members.image is None else ".json" if wants_fields else ".cls"
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


def _fields(shard: Path, key: str, data: bytes) -> Described:
    try:
        fields = json.loads(data)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise UsageError(f"{shard}: {key}.json holds no JSON object; expected fields and their values")
    return fields


def _read(shard: Path, offset: int, num_bytes: int) -> bytes:
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(num_bytes)
