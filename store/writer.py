"""Creating, resuming and growing a store: one writer, shards in any order, nothing counted before it is safe."""

import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from .backbone_files import FrozenBackbone
from .errors import IcecoreError
from .growth import Growth, grow
from .layout import Shard
from .ledger import Entry, load_ledger, write_entry
from .location import Location, open_location
from .lock import writing
from .root import ledger_name
from .samples import Sample, check_keys
from .shard_writer import ShardWriter
from .small_files import write_small_files
from .spec import StoreSpec

Measure = Callable[[tuple[int, ...]], Mapping[int, Float[Tensor, "row token width"]]]


class StoreWriter:
    """A store that is open for writing; made by `open_writer`."""

    def __init__(self, location: Location, growth: Growth, channel_scales: Mapping[int, Tensor]) -> None:
        self._location = location
        self._root = growth.root
        self._channel_scales = channel_scales
        self._entries = load_ledger(location, growth.root)
        self.order = growth.order

    @property
    def todo(self) -> tuple[Shard, ...]:
        """The shards that the ledger does not cover yet, with the (layer, view) pairs that each lacks."""
        identity = self._root.spec.identity
        pairs = [(layer, view) for view in range(identity.views) for layer in identity.layers]
        shards = []
        for index in range(self._root.num_shards):
            start, stop = self._root.shard_range(index)
            entry = self._entries.get(index)
            known = entry if entry is not None and entry.stop == stop else None
            lacking = tuple(pair for pair in pairs if known is None or not known.covers(*pair))
            if lacking:
                shards.append(Shard(index, start, stop, lacking))
        return tuple(shards)

    @property
    def num_rows_done(self) -> int:
        """How many rows are in finished shards."""
        return self._root.num_rows - sum(shard.stop - shard.start for shard in self.todo)

    @property
    def shard_rows(self) -> int:
        """How many rows a full shard has."""
        return self._root.shard_rows

    @property
    def spec(self) -> StoreSpec:
        """What the store holds, or will once every shard is written."""
        return self._root.spec

    @contextlib.contextmanager
    def shard(self, shard: Shard) -> Iterator[ShardWriter]:
        """Write one shard: it counts when this context ends without an exception, and not before."""
        known = self._entries.get(shard.index)
        if known is not None and known.stop != shard.stop:  # the data set grew: the last shard is written anew
            self._location.delete(ledger_name(shard.index))
            known = self._entries.pop(shard.index) and None
        with _room_on_disk(self._location.url, self._root.spec.command):
            with ShardWriter(self._location, self._root, shard, self._channel_scales) as out:
                yield out
                files, failed, elapsed_seconds = out.finish()
            entry = Entry(
                store_id=self._root.store_id,
                shard=shard.index,
                start=shard.start,
                stop=shard.stop,
                failed={**(known.failed if known else {}), **failed},
                elapsed_seconds=round(elapsed_seconds, 3),
                files=_merge(known.files if known else {}, files),
            )
            write_entry(self._location, entry)
        self._entries[shard.index] = entry


def _merge(known: dict, new: dict) -> dict:
    return {layer: {**known.get(layer, {}), **new.get(layer, {})} for layer in sorted({*known, *new})}


@contextlib.contextmanager
def _room_on_disk(url: str, command: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise IcecoreError(
            f"{url}: no space left on the device; finished shards are kept, free some space and resume with: {command}"
        ) from error


@contextlib.contextmanager
def open_writer(
    url: str,
    spec: StoreSpec,
    samples: Sequence[Sample],
    frozen: FrozenBackbone,
    measure: Measure | None = None,
) -> Iterator[StoreWriter]:
    """Create a store, resume one of the same identity, or grow one by layers, views or rows.

    `measure` returns tokens of a seeded sample of rows for some layers; only int4 asks for it. The store's rows are in
    the order of `samples` unless the store had rows before: then those come first. `writer.order` gives, for every row
    of the store, its place in `samples`.

    Raises:
        IdentityError: the store holds something else; the message lists each differing field with both values.
        LockedError: another live process is writing it.
    """
    check_keys(samples)
    location = open_location(url)
    with writing(location), _room_on_disk(url, spec.command):
        growth = grow(location, spec, samples)
        growth, channel_scales = write_small_files(location, growth, frozen, measure)
        yield StoreWriter(location, growth, channel_scales)
