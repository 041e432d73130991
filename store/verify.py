"""Reading every byte of a store and naming what is not as it was written."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import IcecoreError, IntegrityError
from .ledger import Entry, load_entry
from .location import Location, open_location
from .root import ROOT, ROOT_COPY, Root, ledger_name, load_file, load_root, shard_name
from .shard import ShardDecoder


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong: the file, the layer and the rows [start, stop) it concerns where it does, and what it is."""

    file: str
    layer: int | None
    rows: tuple[int, int] | None
    what: str


def verify(url: str, repair: bool = False) -> list[Problem]:
    """Check every file of a store; IcecoreError where there is none.

    With `repair`, a damaged root document is restored from its copy and bad shards are taken out of the ledger, so that
    the store's extract command redoes exactly those, and writes damaged small files again.
    """
    location = open_location(url)
    root, problems = _root(location, repair)
    if root is None:
        return problems
    problems += [problem for name in root.files for problem in _small_file(location, root, name)]
    for shard in range(root.num_shards):
        found = list(_shard(location, root, shard))
        if found and repair:
            location.delete(ledger_name(shard))
        problems += found
    return problems


def _root(location: Location, repair: bool) -> tuple[Root | None, list[Problem]]:
    """Load the root document, or its copy where that is damaged."""
    roots: dict[str, Root] = {}
    problems: list[Problem] = []
    for name in (ROOT, ROOT_COPY):
        try:
            roots[name] = load_root(location, name)
        except IntegrityError as error:
            problems.append(Problem(name, None, None, str(error)))
        except IcecoreError:
            if not (location.exists(ROOT_COPY) or location.exists(ROOT)):
                raise
            problems.append(Problem(name, None, None, f"{location.url}/{name}: is missing or not icecore's"))
    if repair and len(roots) == 1:
        (found,) = roots
        location.write(ROOT if found == ROOT_COPY else ROOT_COPY, location.read(found))
    if len(roots) == 2 and roots[ROOT] != roots[ROOT_COPY]:
        problems.append(Problem(ROOT_COPY, None, None, "is not the same as zarr.json; run the extract command again"))
    return next(iter(roots.values()), None), problems


def _small_file(location: Location, root: Root, name: str) -> Iterator[Problem]:
    match = re.match(r"layers/(\d+)/", name)
    layer = int(match[1]) if match else None
    try:
        load_file(location, root, name)
    except IcecoreError as error:
        yield Problem(name, layer, None, str(error))


def _shard(location: Location, root: Root, shard: int) -> Iterator[Problem]:
    start, stop = root.shard_range(shard)
    try:
        entry = load_entry(location, root, shard)
    except IcecoreError as error:
        yield Problem(ledger_name(shard), None, (start, stop), str(error))
        return
    covered = entry.stop if entry else start
    if covered < stop:
        yield Problem(ledger_name(shard), None, (covered, stop), "these rows are not extracted yet")
    if entry:
        yield from _files(location, root, entry)


def _files(location: Location, root: Root, entry: Entry) -> Iterator[Problem]:
    for layer, view in ((k, view) for k in root.spec.identity.layers for view in range(root.spec.identity.views)):
        if not entry.covers(layer, view):
            what = f"layer {layer}, view {view} of these rows is not extracted yet"
            yield Problem(ledger_name(entry.shard), layer, (entry.start, entry.stop), what)
            continue
        for part, digest in entry.files[layer][view].items():
            cut = root.shard_formats(layer)[part]
            name = shard_name(layer, part, view, entry.shard, len(cut.part.shape))
            for chunk, what in ShardDecoder(location, name, cut, digest).check():
                start = entry.start + max(chunk, 0) * cut.chunk_rows
                rows = entry.start if chunk < 0 else start, entry.stop if chunk < 0 else start + cut.chunk_rows
                yield Problem(name, layer, (rows[0], min(rows[1], entry.stop)), what)
