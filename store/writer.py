"""Creating and resuming a store: one writer, shards in any order, nothing counted before it is safe on disk."""

import contextlib
import datetime
import uuid
from collections.abc import Iterator, Sequence
from types import TracebackType

from .arrays import array_metadata
from .backbone_files import FrozenBackbone, frozen_files
from .checksum import sha256
from .codecs import get_codec
from .errors import IdentityError, UsageError
from .layout import Shard, shard_rows
from .ledger import Entry, load_ledger, write_entry
from .location import LocalFolder, Location, open_location
from .lock import local_lock
from .root import ROOT, SAMPLES, Root, load_root, root_document
from .samples import Sample, check_keys, dataset_sha256, to_parquet
from .shard_writer import ShardWriter
from .spec import StoreSpec


class StoreWriter:
    """A store that is open for writing; made by `open_writer`."""

    def __init__(self, location: Location, root: Root) -> None:
        self._location = location
        self._root = root
        self._entries = load_ledger(location, root)

    @property
    def todo(self) -> tuple[Shard, ...]:
        """The shards that the ledger does not cover yet, with the layers and views that each lacks."""
        identity = self._root.spec.identity
        shards = []
        for index in range(self._root.num_shards):
            entry = self._entries.get(index)
            lacking = [
                (layer, view)
                for layer in identity.layers
                for view in range(identity.views)
                if entry is None or not entry.covers(layer, view)
            ]
            if lacking:
                layers, views = (tuple(sorted(set(axis))) for axis in zip(*lacking, strict=True))
                shards.append(Shard(index, *self._root.shard_range(index), layers, views))
        return tuple(shards)

    @property
    def num_rows_done(self) -> int:
        """How many rows are in finished shards."""
        unfinished = sum(shard.stop - shard.start for shard in self.todo)
        return self._root.num_rows - unfinished

    @property
    def shard_rows(self) -> int:
        """How many rows a full shard has."""
        return self._root.shard_rows

    @contextlib.contextmanager
    def shard(self, shard: Shard) -> Iterator[ShardWriter]:
        """Write one shard: it counts when this context ends without an exception, and not before."""
        with ShardWriter(self._location, self._root, shard) as out:
            yield out
            files, failed, elapsed_seconds = out.finish()
        known = self._entries.get(shard.index)
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


class _Opening:
    """The context that holds the lock around a StoreWriter."""

    def __init__(self, url: str, spec: StoreSpec, samples: Sequence[Sample], frozen: FrozenBackbone) -> None:
        self._request = url, spec, samples, frozen
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> StoreWriter:
        url, spec, samples, frozen = self._request
        _check_request(spec, samples)
        location = open_location(url)
        with self._stack:
            if isinstance(location, LocalFolder):
                self._stack.enter_context(local_lock(location.url))
                location.delete_partial()
            root = _resume(location, spec) if location.exists(ROOT) else _create(location, spec, samples, frozen)
            self._held = self._stack.pop_all()
        return StoreWriter(location, root)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def open_writer(
    url: str, spec: StoreSpec, samples: Sequence[Sample], frozen: FrozenBackbone
) -> contextlib.AbstractContextManager[StoreWriter]:
    """Create a store, or resume one of the same identity.

    Raises:
        IdentityError: the store holds something else; the message lists each differing field with both values.
        LockedError: another live process is writing it.
    """
    return _Opening(url, spec, samples, frozen)


def _check_request(spec: StoreSpec, samples: Sequence[Sample]) -> None:
    if not samples:
        raise UsageError("the data set has no samples; expected at least one image")
    check_keys(samples)
    get_codec(spec.identity.dtype)
    if spec.identity.dataset_sha256 != dataset_sha256(samples, spec.classes):
        raise IdentityError("the samples are not those of the identity asked for; compute dataset_sha256 from them")


def _resume(location: Location, spec: StoreSpec) -> Root:
    root = load_root(location)
    differences = root.spec.identity.differences(spec.identity)
    if spec.shard_rows not in (None, root.shard_rows):
        differences.append(f"shard_rows: {root.shard_rows} in the store, {spec.shard_rows} asked for")
    if differences:
        raise IdentityError(
            f"{location.url}: holds something else: {'; '.join(differences)}; choose another STORE or ask for the same"
        )
    return root


def _create(location: Location, spec: StoreSpec, samples: Sequence[Sample], frozen: FrozenBackbone) -> Root:
    codec = get_codec(spec.identity.dtype)
    row_bytes = max(codec.parts(layer)["values"].row_bytes for layer in spec.layers.values())
    root = Root(
        store_id=uuid.uuid4().hex,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        spec=spec,
        num_rows=len(samples),
        shard_rows=spec.shard_rows or shard_rows(len(samples), row_bytes),
        files={},
    )
    files = {SAMPLES: to_parquet(samples), **frozen_files(frozen), **_array_files(root)}
    for name, data in files.items():
        location.write(name, data)
    root = root.model_copy(update={"files": {name: sha256(data) for name, data in files.items()}})
    location.write(ROOT, root_document(root))
    return root


def _array_files(root: Root) -> dict[str, bytes]:
    shape = (root.spec.identity.views, root.num_rows)
    return {
        f"layers/{layer:02d}/{name}/zarr.json": array_metadata(
            cut.part, shape, cut.chunk_rows, root.shard_rows, root.spec.compressor, layer
        )
        for layer in root.spec.identity.layers
        for name, cut in root.shard_formats(layer).items()
    }
