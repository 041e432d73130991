"""The root document of a store: its specification and the digests of its small files. Written last of these."""

import json
import re
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from pydantic import JsonValue

from ..configuration import Frozen
from ..errors import IcecoreError, IntegrityError
from ..files.location import Location, open_location
from ..format.checksum import parse, seal, sha256, unseal
from ..format.compressors import get_compressor
from ..format.provenance import Provenance
from ..format.shard import ShardFormat
from ..format.spec import Identity, StoreSpec

T = TypeVar("T")

FORMAT = 1
ROOT = "zarr.json"
ROOT_COPY = "icecore.json"  # the same bytes, so that one flipped bit cannot cost a store
GROUP = {"zarr_format": 3, "node_type": "group"}  # what zarr-python writes beside the attributes
SAMPLES = "samples.parquet"
BACKBONE_CONFIG = "backbone/config.json"
BACKBONE_TENSORS = "backbone/frozen.safetensors"
CHANNEL_SCALES = "channel_scales.safetensors"
NOT_WRITTEN = "is not the file that was written; run 'icecore verify' on the store"


class Root(Frozen):
    """The root document: the attributes of the Zarr group under the key `icecore`.

    `files` gives the SHA-256 of every small file by name. A small file that changes as the store grows gets a new name
    with its digest, such as `samples-0123456789abcdef.parquet`, so that the files of the previous root stay intact.
    `provenance` is empty while one extraction wrote all rows, because `spec` and `created` describe that one.
    """

    format: int = FORMAT
    store_id: str
    created: str
    spec: StoreSpec
    num_rows: int
    shard_rows: int
    chunk_rows: dict[int, int]
    files: dict[str, str]
    provenance: tuple[Provenance, ...] = ()

    @property
    def history(self) -> tuple[Provenance, ...]:
        """The record of every extraction that wrote rows, oldest first."""
        return self.provenance or (Provenance.of(self.spec, self.num_rows, self.created),)

    def file(self, role: str) -> str | None:
        """Return the file name for a role, such as `samples.parquet`, in this store; None where it has no such file."""
        stem, _, ending = role.rpartition(".")
        named = re.compile(rf"{re.escape(stem)}(-[0-9a-f]{{16}})?\.{ending}")
        return next((name for name in self.files if named.fullmatch(name)), None)

    def shard_formats(self, layer: int) -> dict[str, ShardFormat]:
        """Return how each part of a layer is cut into chunks and shards, by the name of the part."""
        from ..codecs import get_codec  # imports PyTorch, which describing a store does not need

        parts = get_codec(self.spec.identity.dtype).parts(self.spec.layers[layer])
        rows = self.chunk_rows[layer]
        compressor = get_compressor(self.spec.compressor)
        return {name: ShardFormat(part, rows, self.shard_rows // rows, compressor) for name, part in parts.items()}

    @property
    def num_shards(self) -> int:
        """The number of shards, the last one perhaps not full."""
        return -(-self.num_rows // self.shard_rows)

    def shard_range(self, index: int) -> tuple[int, int]:
        """Return the rows [start, stop) of a shard."""
        return index * self.shard_rows, min((index + 1) * self.shard_rows, self.num_rows)


def shard_name(layer: int, part: str, view: int, shard: int, num_axes: int) -> str:
    """Return the file name of a shard: Zarr's default chunk key below the folder of the array."""
    return f"layers/{layer:02d}/{part}/c/{view}/{shard}" + "/0" * num_axes


def ledger_name(shard: int) -> str:
    """Return the name of the ledger file of a shard."""
    return f"ledger/{shard:06d}.json"


def stored_identity(url: str) -> Identity | None:
    """Return the identity of the store at a path or URL; None where there is no store."""
    location = open_location(url)
    return load_root(location).spec.identity if location.exists(ROOT) else None


def load_root(location: Location, file: str = ROOT) -> Root:
    """Read and check the root document, or with `file` its copy.

    Raises:
        IcecoreError: there is no store, or a newer version wrote it.
        IntegrityError: the document is damaged.
    """
    try:
        data = location.read(file)
    except (FileNotFoundError, NotADirectoryError):
        raise IcecoreError(
            f"{location.url}: is not an icecore store (no {ROOT}); expected what 'icecore extract' wrote, run it first"
        ) from None
    except OSError as error:
        raise IcecoreError(f"{location.url}: {file} cannot be read ({error.strerror or error})") from None
    name = f"{location.url}/{file}"
    document = parse(data, name)
    attributes = document.get("attributes", {}) if isinstance(document, dict) else {}
    if not isinstance(attributes, dict) or "icecore" not in attributes:
        raise IcecoreError(f"{name}: is a Zarr group that icecore did not write; expected attributes under 'icecore'")
    return _check(unseal(attributes["icecore"], name), document, name)


def _check(content: dict[str, Any], document: dict[str, Any], name: str) -> Root:
    if content.get("format") != FORMAT:
        raise IcecoreError(
            f"{name}: store format {content.get('format')!r}, this version reads format {FORMAT}; upgrade icecore"
        )
    root = Root.model_validate(content)
    if document != {**GROUP, "attributes": {"icecore": seal(content)}}:
        raise IntegrityError(
            f"{name}: is not the document that was written; run 'icecore verify --repair' on the store"
        )
    return root


def root_document(root: Root) -> bytes:
    """Return the bytes of the root document, zarr.json."""
    from ..format.arrays import group_metadata  # zarr is slow to import and reading tokens does not need it

    content = root.model_dump(mode="json", exclude=None if root.provenance else {"provenance"})
    return group_metadata({"icecore": seal(content)})


def load_config(location: Location, root: Root) -> dict[str, JsonValue]:
    """Return the configuration of the frozen backbone, without its tensors."""
    return json.loads(load_file(location, root, BACKBONE_CONFIG))


def load_file(location: Location, root: Root, role: str) -> bytes:
    """Return the bytes of the small file of a role; IntegrityError if its SHA-256 is not the one in the root."""
    name = root.file(role)
    if name is None:
        raise IntegrityError(f"{location.url}: {ROOT} names no {role}; run 'icecore verify --repair' on the store")
    data = _read_small(location, name)
    if sha256(data) != root.files[name]:
        raise IntegrityError(f"{location.url}: {name} {NOT_WRITTEN}")
    return data


def load_newest(location: Location, root: Root, load: Callable[[Location, Root], T]) -> T:
    """Return `load(location, root)`; if that fails because the store has grown meanwhile, load with the current root.

    Growing deletes small files that the new root no longer lists, which a reader of the old root may still ask for.
    """
    try:
        return load(location, root)
    except IntegrityError:
        current = load_root(location)
        if current == root or current.store_id != root.store_id:
            raise
        return load(location, current)


def small_file_fault(location: Location, name: str, digests: Collection[str]) -> str | None:
    """Return what is wrong with a small file that must have one of the digests; None if nothing is."""
    try:
        return None if sha256(_read_small(location, name)) in digests else f"{location.url}: {name} {NOT_WRITTEN}"
    except IntegrityError as error:
        return str(error)


def _read_small(location: Location, name: str) -> bytes:
    try:
        return location.read(name)
    except FileNotFoundError:
        raise IntegrityError(f"{location.url}: {name} is missing; run the store's extract command again") from None
