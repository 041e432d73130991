"""The ledger: one sealed JSON file for every finished shard, written last; files that it does not list do not count."""

import re

from ..configuration import Frozen
from ..errors import IntegrityError
from ..files.location import Location
from ..format.checksum import canonical, parse, seal, unseal
from ..format.shard import FileDigest
from .root import Root, ledger_name

_NAME = re.compile(r"ledger/(\d{6,})\.json")


class Entry(Frozen):
    """A finished shard: rows [start, stop), the cause for each failed row, and `files[layer][view][part]`."""

    store_id: str
    shard: int
    start: int
    stop: int
    failed: dict[int, str]
    elapsed_seconds: float
    files: dict[int, dict[int, dict[str, FileDigest]]]

    def covers(self, layer: int, view: int) -> bool:
        """Say whether the shard is finished in a layer and view."""
        return view in self.files.get(layer, {})


def write_entry(location: Location, entry: Entry) -> None:
    """Write the ledger file of a finished shard."""
    location.write(ledger_name(entry.shard), canonical(seal(entry.model_dump(mode="json"))))


def load_entry(location: Location, root: Root, shard: int) -> Entry | None:
    """Return the entry of a shard, None where there is none.

    Raises:
        IntegrityError: the file is damaged, or belongs to another store or shard.
    """
    name = ledger_name(shard)
    try:
        data = location.read(name)
    except FileNotFoundError:
        return None
    where = f"{location.url}: {name}"
    try:
        entry = Entry.model_validate(unseal(parse(data, where), where))
    except ValueError:
        raise IntegrityError(f"{where}: is not a ledger entry; run 'icecore verify --repair' on the store") from None
    start, stop = root.shard_range(shard)
    if (entry.store_id, entry.shard, entry.start) != (root.store_id, shard, start) or not start < entry.stop <= stop:
        raise IntegrityError(f"{where}: belongs to another store or shard; run 'icecore verify --repair' on the store")
    return entry


def shards_listed(location: Location) -> list[int]:
    """Return the numbers of all shards with a ledger file, damaged or not, ascending."""
    return sorted(int(match[1]) for name in location.sizes("ledger") if (match := _NAME.fullmatch(name)))


def load_ledger(location: Location, root: Root) -> dict[int, Entry]:
    """Return the entries of all finished shards by shard number; IntegrityError if one is damaged."""
    listed = [shard for shard in shards_listed(location) if shard < root.num_shards]
    entries = {shard: load_entry(location, root, shard) for shard in listed}
    return {shard: entry for shard, entry in entries.items() if entry is not None}
