"""Creating, resuming and growing a store: one writer, shards in any order, each counted once it is safely on disk."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..documents.backbone_files import FrozenBackbone
from ..documents.channel_scales import load_channel_scales
from ..documents.coverage import lacking
from ..documents.ledger import Entry, load_entry, load_ledger, write_entry
from ..documents.root import Root, ledger_name, load_root
from ..errors import LockedError
from ..files.claim import claim, free_claims, require_writer
from ..files.destination import require_destination
from ..files.location import Location, open_location
from ..files.lock import writing
from ..files.room import room_on_disk
from ..format.layout import Shard
from ..format.samples import Sample, check_keys, check_text
from ..format.spec import StoreSpec
from .growth import grow
from .shard_writer import ShardWriter
from .small_files import Measure, write_small_files

Retry = Callable[[Sequence[int], Sequence[int]], Iterable[int]]


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """The address of a store and the writer's token: what a worker process needs to write shards for the writer."""

    url: str
    token: str


class StoreWriter:
    """A store open for writing: the whole store if made by `open_writer`, one shard if made by `open_shard`.

    `order[row]` is the index in the requested samples of the store's row `row`.
    """

    def __init__(
        self,
        location: Location,
        root: Root,
        channel_scales: Mapping[int, Tensor],
        token: str,
        entries: dict[int, Entry],
        shards: range,
        order: Sequence[int],
        retried: Collection[int] = (),
    ) -> None:
        self._location = location
        self._root = root
        self._channel_scales = channel_scales
        self._token = token
        self._entries = entries
        self._shards = shards
        self.order = order
        self._retried = retried

    @property
    def access(self) -> StoreAccess:
        """The argument of `open_shard` for worker processes, valid while this writer is open."""
        return StoreAccess(self._location.url, self._token)

    @property
    def todo(self) -> tuple[Shard, ...]:
        """The shards still to be written, with the (layer, view) pairs that each lacks."""
        return lacking(self._root, self._entries, self._shards, self._retried)

    @property
    def num_rows_done(self) -> int:
        """The number of rows in finished shards."""
        return self._root.num_rows - sum(shard.stop - shard.start for shard in self.todo)

    @property
    def shard_rows(self) -> int:
        """The number of rows in a full shard."""
        return self._root.shard_rows

    @property
    def spec(self) -> StoreSpec:
        """The specification of the store once every shard is written."""
        return self._root.spec

    @contextlib.contextmanager
    def shard(self, shard: Shard) -> Iterator[ShardWriter]:
        """Write one shard, which is recorded in the ledger when the context ends without an exception.

        A finished shard that is rewritten, because it gains rows or retries failed ones, stays readable until then.
        """
        known = self._entries.get(shard.index)
        anew = known is not None and (known.stop != shard.stop or bool(shard.retried))
        with room_on_disk(self._location.url, _resume(self._root.spec.command)):
            with ShardWriter(self._location, self._root, shard, self._channel_scales, replaces=anew) as out:
                yield out
                require_writer(self._location, self._token)
                if anew:
                    self._location.delete(ledger_name(shard.index))
                    known = self._entries.pop(shard.index) and None
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
            require_writer(self._location, self._token)
            write_entry(self._location, entry)
        self._entries[shard.index] = entry


def _merge(known: dict, new: dict) -> dict:
    return {layer: {**known.get(layer, {}), **new.get(layer, {})} for layer in sorted({*known, *new})}


def _resume(command: str) -> str:
    return f"finished shards are kept, free some space and resume with: {command}"


@contextlib.contextmanager
def open_writer(
    url: str,
    spec: StoreSpec,
    samples: Sequence[Sample],
    frozen: FrozenBackbone,
    measure: Measure | None = None,
    retry: Retry | None = None,
) -> Iterator[StoreWriter]:
    """Create a store, resume one of the same identity, or grow one by layers, views or rows.

    The rows of the store are in the order of `samples`, except that rows the store already has come first;
    `writer.order` maps the store's rows to indices in `samples`.

    Args:
        measure: Returns the tokens of a seeded sample of rows for the given layers; only int4 calls it.
        retry: Takes the failed rows and `writer.order`, and returns the rows to try again; their shards are rewritten.

    Raises:
        IdentityError: the store holds something else; the message lists each differing field with both values.
        LockedError: another live process is writing it.
        UsageError: the folder holds something other than a store, which is left unchanged, or a sample is malformed.
    """
    check_keys(samples)
    check_text([spec.source, spec.command, *spec.classes])
    check_text(text for sample in samples for text in (sample.key, sample.split, sample.group))
    require_destination(url, "store")
    location = open_location(url)
    with room_on_disk(url, _resume(spec.command)), writing(location) as held:
        free_claims(location)
        growth = grow(location, spec, samples)
        entries = load_ledger(location, growth.root)
        shards, failed = range(growth.root.num_shards), [row for entry in entries.values() for row in entry.failed]
        retried = frozenset(retry(failed, growth.order)) if retry and failed else frozenset()
        if lacking(growth.root, entries, shards, retried):
            growth = growth.recorded(spec)
        root, scales = write_small_files(held.location, growth, frozen, measure)
        yield StoreWriter(held.location, root, scales, held.token, entries, shards, growth.order, retried)
        with contextlib.suppress(LockedError):  # a lost worker still writes: the next writer waits for it
            free_claims(location)


@contextlib.contextmanager
def open_shard(access: StoreAccess, shard: int, retried: Collection[int] = ()) -> Iterator[StoreWriter]:
    """Open one shard of a store that another process holds for writing; `todo` is empty if the shard is finished.

    `retried` are the failed rows to try again, from the `Shard` that the writer handed out.

    Raises:
        LockedError: the writer released the store, or a third process keeps this shard.
    """
    location = open_location(access.url)
    with claim(location, shard, access.token) as location:
        root = load_root(location)
        entry = load_entry(location, root, shard)
        entries = {} if entry is None else {shard: entry}
        scales = load_channel_scales(location, root)
        shards = range(shard, shard + 1)
        yield StoreWriter(location, root, scales, access.token, entries, shards, range(root.num_rows), retried)
