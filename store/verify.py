"""Reading every byte of a store and naming what is not as it was written."""

from dataclasses import dataclass

from .errors import IcecoreError
from .ledger import Entry, load_entry
from .location import Location, open_location
from .root import Root, ledger_name, load_file, load_root, shard_name
from .shard import ShardDecoder


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong: the file, the layer and the rows [start, stop) it concerns where it does, and what it is."""

    file: str
    layer: int | None
    rows: tuple[int, int] | None
    what: str


def verify(url: str, repair: bool = False) -> list[Problem]:
    """Check every file of a store; with `repair`, take bad shards out of the ledger so that extract redoes them."""
    location = open_location(url)
    root = load_root(location)
    problems = [problem for name in root.files for problem in _small_file(location, root, name)]
    for shard in range(root.num_shards):
        found = _shard(location, root, shard)
        if found and repair:
            location.delete(ledger_name(shard))
        problems += found
    return problems


def _small_file(location: Location, root: Root, name: str) -> list[Problem]:
    try:
        load_file(location, root, name)
    except IcecoreError as error:
        return [Problem(name, None, None, str(error))]
    return []


def _shard(location: Location, root: Root, shard: int) -> list[Problem]:
    try:
        entry = load_entry(location, root, shard)
    except IcecoreError as error:
        return [Problem(ledger_name(shard), None, root.shard_range(shard), str(error))]
    if entry is None:
        return [Problem(ledger_name(shard), None, root.shard_range(shard), "these rows are not extracted yet")]
    return [
        problem
        for layer, views in entry.files.items()
        for view, parts in views.items()
        for part in parts
        for problem in _file(location, root, entry, layer, view, part)
    ]


def _file(location: Location, root: Root, entry: Entry, layer: int, view: int, part: str) -> list[Problem]:
    cut = root.shard_formats(layer)[part]
    name = shard_name(layer, part, view, entry.shard, len(cut.part.shape))
    problems = []
    for chunk, what in ShardDecoder(location, name, cut, entry.files[layer][view][part]).check():
        start = entry.start + max(chunk, 0) * cut.chunk_rows
        stop = entry.stop if chunk < 0 else min(start + cut.chunk_rows, entry.stop)
        problems.append(Problem(name, layer, (start, stop), what))
    return problems
