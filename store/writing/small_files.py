"""Writing the small files of a store (samples, backbone, array metadata, channel scales, root), safe against a kill.

The root document lists every small file with its digest and is replaced last, in one step. Until then no file that it
lists is touched: a changed file gets a new name. Only the Zarr metadata of arrays have fixed names. They are replaced
after the copy of the new root is written, so that in between each matches either the root or the copy; both describe
the same stored numbers.
"""

import re
from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from ..codecs import get_codec
from ..codecs.int4 import measure_channel_scale
from ..documents.backbone_files import FrozenBackbone, frozen_files
from ..documents.channel_scales import load_channel_scales, scales_bytes
from ..documents.root import CHANNEL_SCALES, ROOT, ROOT_COPY, SAMPLES, Root, load_file, root_document
from ..errors import IntegrityError, UsageError
from ..files.location import Location
from ..format.arrays import array_metadata, group_metadata
from ..format.checksum import sha256
from ..format.samples import to_parquet
from .growth import Growth

Measure = Callable[[tuple[int, ...]], Mapping[int, Float[Tensor, "row token width"]]]

_NAMED = re.compile(
    r"(samples|channel_scales|backbone/config|backbone/frozen)(-[0-9a-f]{16})?\.(parquet|json|safetensors)"
)


def write_small_files(
    location: Location, growth: Growth, frozen: FrozenBackbone, measure: Measure | None
) -> tuple[Root, dict[int, Tensor]]:
    """Write all small files that changed; return the root with their digests, and the channel scales by layer.

    Raises:
        UsageError: the codec needs channel scales, and `measure` is None.
        IntegrityError: the stored channel scales are damaged, and measuring again gives others.
    """
    stored, scales = growth.stored, _channel_scales(location, growth, measure)
    contents = {SAMPLES: _samples(location, growth), **frozen_files(location, stored, frozen)}
    if scales:
        contents[CHANNEL_SCALES] = scales_bytes(scales)
    named = {_name(stored, role, data): data for role, data in contents.items()}
    arrays = _array_files(location, growth)
    digests = {name: sha256(data) for name, data in {**named, **arrays}.items()}
    root = growth.root.model_copy(update={"files": digests})
    # An unchanged root is copied byte for byte, as an early version may have written it.
    copy = {ROOT_COPY: location.read(ROOT) if root == stored else root_document(root)}
    # In a new folder the copy comes first, because it marks the folder as icecore's.
    in_order = [copy, named, arrays] if stored is None else [named, copy, arrays]
    for files in (*in_order, {ROOT: copy[ROOT_COPY]}):
        for name, data in files.items():
            _write_if_new(location, name, data)
    _delete_superseded(location, root)
    return root, scales


def _name(stored: Root | None, role: str, data: bytes) -> str:
    """Return the name of a small file: the present one if the content is unchanged, else one with its digest."""
    if stored is None:
        return role
    digest, known = sha256(data), stored.file(role)
    if known is not None and stored.files[known] == digest:
        return known
    stem, _, ending = role.rpartition(".")
    return f"{stem}-{digest[:16]}.{ending}"


def _write_if_new(location: Location, name: str, data: bytes) -> None:
    try:
        if location.read(name) == data:
            return
    except FileNotFoundError:
        pass
    location.write(name, data)


def _delete_superseded(location: Location, root: Root) -> None:
    """Delete small files that the root does not list: those of the previous root and of growths that were killed."""
    for name in (*(location.entries() or ()), *location.sizes("backbone")):
        if _NAMED.fullmatch(name) and name not in root.files:
            location.delete(name)
    kept = {f"{layer:02d}" for layer in root.spec.identity.layers}
    for layer in location.entries("layers") or ():
        if layer.isdecimal() and layer not in kept:
            for name in location.sizes(f"layers/{layer}"):
                if name.endswith("/zarr.json"):
                    location.delete(name)


def _as_stored(location: Location, stored: Root, role: str) -> bytes | None:
    """Return the stored bytes of a small file; None where it is damaged or missing."""
    try:
        return load_file(location, stored, role)
    except IntegrityError:
        return None


def _samples(location: Location, growth: Growth) -> bytes:
    """Return the bytes of the table of samples: the stored ones if the data set is unchanged."""
    stored, asked = growth.stored, growth.root.spec.identity.dataset_sha256
    same = stored is not None and stored.spec.identity.dataset_sha256 == asked
    known = _as_stored(location, stored, SAMPLES) if stored is not None and same else None
    return to_parquet(growth.samples) if known is None else known


def _array_files(location: Location, growth: Growth) -> dict[str, bytes]:
    """Return the Zarr metadata of groups and arrays: the stored bytes if the shape is unchanged."""
    stored, made = growth.stored, _array_metadata(growth.root)
    if stored is None or _shape(stored) != _shape(growth.root):
        return made
    return {name: _as_stored(location, stored, name) or data for name, data in made.items()}


def _shape(root: Root) -> tuple[int, int]:
    return root.spec.identity.views, root.num_rows


def _array_metadata(root: Root) -> dict[str, bytes]:
    layers = root.spec.identity.layers
    groups = {f"{folder}/zarr.json": group_metadata({}) for folder in ("layers", *(f"layers/{k:02d}" for k in layers))}
    return groups | {
        f"layers/{layer:02d}/{name}/zarr.json": array_metadata(
            shard_format.part,
            shape=_shape(root),
            chunk_rows=shard_format.chunk_rows,
            shard_rows=root.shard_rows,
            compressor=root.spec.compressor,
            layer=layer,
        )
        for layer in layers
        for name, shard_format in root.shard_formats(layer).items()
    }


def _channel_scales(location: Location, growth: Growth, measure: Measure | None) -> dict[int, Tensor]:
    """Return the stored channel scales, and measure those of new layers."""
    identity = growth.root.spec.identity
    if not get_codec(identity.dtype).needs_channel_scale:
        return {}
    known = {} if growth.stored is None else _known_scales(location, growth.stored, measure)
    lacking = tuple(layer for layer in identity.layers if layer not in known)
    return known | (_measured(lacking, identity.dtype, measure) if lacking else {})


def _known_scales(location: Location, stored: Root, measure: Measure | None) -> dict[int, Tensor]:
    """Return the stored channel scales; if their file is damaged, measure again and require the same digest."""
    try:
        return load_channel_scales(location, stored)
    except IntegrityError:
        identity, name = stored.spec.identity, stored.file(CHANNEL_SCALES)
        again = _measured(identity.layers, identity.dtype, measure)
        if name is None or sha256(scales_bytes(again)) != stored.files[name]:
            raise IntegrityError(
                f"{location.url}: {name} is damaged, and measured anew it differs from what the rows were written "
                "with; put the file back from a copy, or extract into another STORE"
            ) from None
        return again


def _measured(layers: tuple[int, ...], dtype: str, measure: Measure | None) -> dict[int, Tensor]:
    if measure is None:
        raise UsageError(f"dtype {dtype!r}: needs a sample of rows to be measured first; pass measure to open_writer")
    measured = measure(layers)
    if set(measured) != set(layers):
        raise IntegrityError(f"the sample covers layers {sorted(measured)}, expected {list(layers)}")
    return {layer: measure_channel_scale(tokens) for layer, tokens in measured.items()}
