"""Verifying a store: read every byte, and list what is damaged or not extracted yet."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from ..documents.ledger import Entry, load_entry, shards_listed, write_entry
from ..documents.root import ROOT, ROOT_COPY, Root, ledger_name, load_root, shard_name, small_file_fault
from ..errors import IcecoreError, IntegrityError
from ..files.claim import free_claims
from ..files.location import Location, open_location
from ..files.lock import writing
from ..files.room import room_on_disk
from ..format.shard import ShardDecoder

Pair = tuple[int, int]  # layer, view


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the file, the layer and rows [start, stop) that it affects, if particular ones, and in words what.

    `kind` is `damage` where bytes differ from those written, `missing` where they are not extracted yet.
    """

    file: str
    layer: int | None
    rows: tuple[int, int] | None
    what: str
    kind: Literal["damage", "missing"] = "damage"


def verify(url: str, repair: bool = False) -> list[Problem]:
    """Check every file of a store and return the problems.

    With `repair`, a damaged root document is restored from its copy, and damaged (layer, view) pairs of shards are
    removed from the ledger. The store's extract command then redoes exactly those, and rewrites damaged small files.

    Raises:
        IcecoreError: there is no store.
        LockedError: with `repair`, while another live process is writing the store.
    """
    location = open_location(url)
    _load_roots(location)  # fails before anything is locked if there is no store
    if not repair:
        return _check(location, repair=False)
    with room_on_disk(url, "free some space and repair again"), writing(location) as held:
        free_claims(location)
        return _check(held.location, repair=True)


def _check(location: Location, repair: bool) -> list[Problem]:
    roots, problems = _load_roots(location)
    if not roots:
        return problems
    if repair and len(roots) == 1:
        _restore_root(location, roots)
    root = roots.get(ROOT) or roots[ROOT_COPY]
    for name in root.files:
        problems += _small_file(location, root, roots.get(ROOT_COPY, root), name)
    for shard in range(root.num_shards):
        of_shard, entry, damaged = _shard(location, root, shard)
        problems += of_shard
        if repair and damaged:
            _strike(location, shard, entry, damaged)
    return problems


def _strike(location: Location, shard: int, entry: Entry | None, damaged: Collection[Pair]) -> None:
    """Remove damaged (layer, view) pairs from a shard's ledger entry; an unreadable entry (None) is deleted."""
    stored = {} if entry is None else entry.files
    kept = {
        k: {view: files for view, files in views.items() if (k, view) not in damaged} for k, views in stored.items()
    }
    good = {layer: views for layer, views in kept.items() if views}
    if entry is not None and good:
        write_entry(location, entry.model_copy(update={"files": good}))
    else:
        location.delete(ledger_name(shard))


def _load_roots(location: Location) -> tuple[dict[str, Root], list[Problem]]:
    """Return the readable ones of the root and its copy, and their problems; IcecoreError where neither exists."""
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
    if len(roots) == 2 and roots[ROOT] != roots[ROOT_COPY]:
        if roots[ROOT].store_id != roots[ROOT_COPY].store_id:
            problems.append(Problem(ROOT_COPY, None, None, f"is of another store than {ROOT}; run the extract command"))
        else:
            what = f"announces more than {ROOT}: the store did not come to grow; run the extract command again"
            problems.append(Problem(ROOT_COPY, None, None, what, "missing"))
    return roots, problems


def _restore_root(location: Location, roots: dict[str, Root]) -> None:
    """Restore the damaged one of root and copy from the other; a store that was never finished being made stays so."""
    (intact,) = roots
    if intact == ROOT or location.exists(ROOT) or shards_listed(location):
        location.write(ROOT if intact == ROOT_COPY else ROOT_COPY, location.read(intact))


def _small_file(location: Location, root: Root, copy: Root, name: str) -> Iterator[Problem]:
    """Check one small file against the root or its copy: while a store grows, Zarr's metadata may match either."""
    match = re.match(r"layers/(\d+)/", name)
    fault = small_file_fault(location, name, {root.files[name], copy.files.get(name, root.files[name])})
    if fault is not None:
        yield Problem(name, int(match[1]) if match else None, None, fault)


def _shard(location: Location, root: Root, shard: int) -> tuple[list[Problem], Entry | None, set[Pair]]:
    """Return the problems of a shard, its ledger entry, and its damaged (layer, view) pairs."""
    start, stop = root.shard_range(shard)
    pairs = [(layer, view) for layer in root.spec.identity.layers for view in range(root.spec.identity.views)]
    try:
        entry = load_entry(location, root, shard)
    except IcecoreError as error:
        return [Problem(ledger_name(shard), None, (start, stop), str(error))], None, set(pairs)
    covered = entry.stop if entry else start
    problems: list[Problem] = []
    if covered < stop:
        what = "these rows are not extracted yet"
        problems.append(Problem(ledger_name(shard), None, (covered, stop), what, "missing"))
    if entry is None:
        return problems, None, set()
    by_pair = {pair: list(_files(location, root, entry, *pair)) for pair in pairs}
    problems += [problem for of_pair in by_pair.values() for problem in of_pair]
    damaged = {pair for pair, of_pair in by_pair.items() if any(problem.kind == "damage" for problem in of_pair)}
    return problems, entry, damaged


def _files(location: Location, root: Root, entry: Entry, layer: int, view: int) -> Iterator[Problem]:
    if not entry.covers(layer, view):
        what = f"layer {layer}, view {view} of these rows is not extracted yet"
        yield Problem(ledger_name(entry.shard), layer, (entry.start, entry.stop), what, "missing")
        return
    for part, digest in entry.files[layer][view].items():
        shard_format = root.shard_formats(layer)[part]
        name = shard_name(layer, part, view, entry.shard, len(shard_format.part.shape))
        for chunk, what in ShardDecoder(location, name, shard_format, digest).check():
            start = entry.start + max(chunk, 0) * shard_format.chunk_rows
            rows = entry.start if chunk < 0 else start, entry.stop if chunk < 0 else start + shard_format.chunk_rows
            yield Problem(name, layer, (rows[0], min(rows[1], entry.stop)), what)
