"""The source `wds:`, WebDataset tar shards: members `KEY.jpg` (or .png) and `KEY.cls` or `KEY.json` make a sample."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image

from icecore.store import Sample, UsageError

from ..decoding.decode import decode_image
from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.archives import EXPECTED, Archive, Archives, archives_of, is_archive
from ..files.manifest import decode_text, read_text
from ..files.tally import Tally
from ..files.walk import HIDDEN, ending_of, is_hidden, is_image, walk
from ..labels.cells import Cells, number_in, whole
from ..labels.class_names import normal
from ..labels.columns import DEFAULT, Columns
from ..labels.fields import Described, from_fields
from ..labels.labels import read_labels
from ..labels.splits import file_splits, require_no_split, splits_in

CLASS_NAMES = "classnames.txt"  # beside the shards, as in CLIP_benchmark
Place = tuple[int, int]  # offset and size in bytes


@dataclass(slots=True)
class _Members:
    """The places of the members of one shard by key; a key is a member's name without its last ending."""

    keys: dict[str, None] = field(default_factory=dict)  # in the order of the shard
    images: dict[str, Place] = field(default_factory=dict)
    labels: dict[str, Place] = field(default_factory=dict)
    fields: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Image:
    """One image of a shard with its fields: those of its `.json`, or its class as `cls`."""

    shard: Archive
    key: str
    place: Place
    fields: Described


class WdsSource:
    """The samples of tar shards in the order of shards and members; keys are `SPLIT/KEY`.

    Where two shards use the same key, all keys are `SPLIT/SHARD/KEY`. Members are read by offset, in any order;
    compressed shards are first unpacked to temporary files. Without columns, a class is the number in `.cls`, named by
    that line of `classnames.txt` or else by its number. With columns, labels are read from fields of `.json`.
    """

    kind = "wds"

    def __init__(self, path: str, columns: Columns = DEFAULT) -> None:
        self.tally, self._archives, where = Tally(), Archives(), f"wds {path!r}"
        found = [
            image for shard in _shards(Path(path), self.tally) for image in self._samples(shard, bool(columns.given))
        ]
        if not found:
            raise UsageError(f"{where}: its shards hold no images; {EXPECTED}")
        self._places = [(image.shard, *image.place) for image in found]
        splits = _splits(found, where)
        keys = _keys(found, splits, self.tally)
        described = {key: (split, image.fields) for key, split, image in zip(keys, splits, found, strict=True)}
        if columns.given:
            self.samples, self.classes = from_fields(described, columns, where, self.tally)
            return
        values = [[image.fields["cls"]] for image in found]
        cells = Cells(("cls",), values, where, lambda row: f"{found[row].shard.where}: {found[row].key}.cls")
        labels = read_labels(cells, columns, self.tally, _class_names(Path(path), self.tally))
        self.classes = labels.classes
        told = zip(keys, labels.labels, splits, strict=True)
        self.samples = tuple(Sample(key, label, split) for key, label, split in told)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return whether the path is a tar file, or a folder with such files at most one folder below."""
        if path.is_file():
            return is_archive(path.name)
        return any(is_archive(file.name) for pattern in ("*", "*/*") for file in path.glob(pattern))

    def read(self, row: int) -> bytes:
        """Return the bytes of one image member."""
        return self._archives.read(*self._places[row])

    def decode(self, data: bytes, rules: Decoding | None = RULES) -> Image.Image:
        """Return the RGB image of a member's bytes."""
        return decode_image(data, rules)

    def _samples(self, shard: Archive, wants_fields: bool) -> Iterator[_Image]:
        """Yield the images of one shard; UsageError for an image without label, or a label without image."""
        members = self._members(shard)
        told = members.fields if wants_fields else members.labels
        for key in members.keys:
            if key in members.images and key in told:
                data = self._archives.read(shard, *told[key])
                fields = _fields(shard, key, data) if wants_fields else {"cls": _label(shard, key, data)}
                yield _Image(shard, key, members.images[key], fields)
            elif key in members.images or key in told:
                if not _is_further(key, members.images, told):
                    lacking = "image" if key in told else ".json" if wants_fields else ".cls"
                    hint = (
                        "" if wants_fields or key not in members.fields else "; name a field of .json: --label-column"
                    )
                    raise UsageError(f"{shard.where}: key {key!r} has no {lacking} member; {EXPECTED}{hint}")
                self.tally.pass_over("further members of a key", f"{shard.name}: {key}")

    def _members(self, shard: Archive) -> _Members:
        """Return the members of one shard; members that are neither image nor label are counted and left out."""
        members = _Members()
        for member in self._archives.members(shard):
            if any(map(is_hidden, PurePosixPath(member.name).parts)):
                self.tally.pass_over(HIDDEN, f"{shard.name}: {member.name}")
                continue
            name, place = PurePosixPath(member.name), (member.offset_data, member.size)
            key, ending = name.with_suffix("").as_posix(), name.suffix.lower()
            members.keys[key] = None
            if is_image(member.name):
                if key in members.images:
                    raise UsageError(f"{shard.where}: {member.name!r} is a second image of its key; expected one a key")
                members.images[key] = place
            elif ending in (".cls", ".json"):
                self._add(shard, members.labels if ending == ".cls" else members.fields, key, place, member.name)
            else:
                self.tally.pass_over(ending_of(member.name), f"{shard.name}: {member.name}")
        return members

    def _add(self, shard: Archive, known: dict[str, Place], key: str, place: Place, name: str) -> None:
        """Add the label or the fields of a key; a second member of the same name must have the same bytes."""
        if key in known:
            texts = [self._archives.read(shard, *member) for member in (known[key], place)]
            if texts[0] != texts[1]:
                raise UsageError(
                    f"{shard.where}: {name!r} is there twice, with {texts[0][:40]!r} and {texts[1][:40]!r}"
                )
            self.tally.pass_over("members that are there twice, alike", f"{shard.name}: {name}")
        known[key] = place


def _shards(root: Path, tally: Tally) -> list[Archive]:
    if root.is_file():
        return archives_of(root.parent, [root.name])
    if not root.is_dir():
        raise UsageError(f"wds {str(root)!r}: no such file or folder; {EXPECTED}")
    files = [f"{folder}/{file}".lstrip("/") for folder, names in walk(root, tally) for file in names]
    for file in files:
        if not is_archive(file) and file != CLASS_NAMES:
            tally.pass_over(ending_of(file), file)
    shards = archives_of(root, [file for file in files if is_archive(file)])
    if not shards:
        raise UsageError(f"wds {str(root)!r}: holds no tar files; {EXPECTED}")
    return shards


def _class_names(root: Path, tally: Tally) -> list[str]:
    """Return the class names by number, one a line of `classnames.txt` beside the shards; empty without that file.

    A name of several classes, as in CLIP_benchmark's ImageNet, gets the number appended.
    """
    file = (root.parent if root.is_file() else root) / CLASS_NAMES
    if not file.is_file():
        return []
    names = [line.strip() for line in read_text(file).rstrip().split("\n")]
    if "" in names:
        raise UsageError(f"{file}, line {names.index('') + 1}: is empty; expected the name of a class a line")
    tally.note(f"classes called as {CLASS_NAMES} says", names[0], len(names))
    counts = Counter(map(normal, names))
    doubled = [counts[normal(name)] > 1 for name in names]
    for name in (name for name, is_doubled in zip(names, doubled, strict=True) if is_doubled):
        tally.note("classes of one name, told apart by their numbers", name)
    told = enumerate(zip(names, doubled, strict=True))
    return [f"{name} ({label})" if is_doubled else name for label, (name, is_doubled) in told]


def _splits(found: list[_Image], where: str) -> list[str]:
    """Return the split of each image by the names of the shards, or by folders within where no shard names a split."""
    shards = list(dict.fromkeys(image.shard for image in found))
    if not any(splits_in(shard.name) for shard in shards):
        return file_splits([PurePosixPath(image.key).parent for image in found], where)
    named = file_splits([PurePosixPath(shard.name) for shard in shards], where)
    split = dict(zip(shards, named, strict=True))
    for image in found:
        require_no_split(PurePosixPath(image.key).parts[:-1], split[image.shard], image.key, image.shard.where)
    return [split[image.shard] for image in found]


def _keys(found: list[_Image], splits: list[str], tally: Tally) -> list[str]:
    """Return keys that are unique over all shards."""
    keys = [f"{split}/{image.key}" for image, split in zip(found, splits, strict=True)]
    if len(set(keys)) == len(keys):
        return keys
    tally.note("rows of shards that begin their keys anew: the shard's name is part of the key", keys[0], len(keys))
    return [f"{split}/{image.shard.name}/{image.key}" for image, split in zip(found, splits, strict=True)]


def _is_further(key: str, images: Mapping[str, Place], told: Mapping[str, Place]) -> bool:
    """Return whether a key belongs to another sample, as the mask `x.seg.png` belongs to `x.jpg` and `x.cls`."""
    parts = key.split(".")
    shorter = (".".join(parts[:length]) for length in range(1, len(parts)))
    return any(other in images and other in told for other in shorter)


def _label(shard: Archive, key: str, data: bytes) -> int:
    where = f"{shard.where}: {key}.cls"
    text = decode_text(data, where).strip()
    value = int(text) if text.isdecimal() else whole(number_in(text))
    if not isinstance(value, int) or value < 0:
        raise UsageError(f"{where} holds {text!r}; expected a class number from 0")
    return value


def _fields(shard: Archive, key: str, data: bytes) -> Described:
    where = f"{shard.where}: {key}.json"
    try:
        fields = json.loads(decode_text(data, where))
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise UsageError(f"{where} holds no JSON object; expected fields and their values")
    return fields
