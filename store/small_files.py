"""The small files of a store (samples, backbone, array metadata, channel scales, root), written so that no kill harms.

The root document is written last and names the digest of every other; a run that was killed before it finds files that
are not the ones named and writes them again.
"""

from collections.abc import Callable, Mapping

import safetensors.torch
from torch import Tensor

from .arrays import array_metadata, group_metadata
from .backbone_files import FrozenBackbone, frozen_files, keep_known
from .checksum import sha256
from .codecs import get_codec
from .codecs.int4 import measure_channel_scale
from .errors import IntegrityError, UsageError
from .growth import Growth
from .location import Location
from .root import CHANNEL_SCALES, ROOT, ROOT_COPY, SAMPLES, Root, load_file, root_document
from .samples import to_parquet


def write_small_files(
    location: Location,
    growth: Growth,
    frozen: FrozenBackbone,
    measure: Callable[[tuple[int, ...]], Mapping[int, Tensor]] | None,
) -> tuple[Growth, dict[int, Tensor]]:
    """Bring every small file up to date; return the growth with its digests, and the channels' scales by layer."""
    root = growth.root
    scales = _channel_scales(location, root, measure)
    files = {
        SAMPLES: to_parquet(growth.samples),
        **frozen_files(keep_known(location, root, frozen)),
        **_array_files(root),
    }
    if scales:
        files[CHANNEL_SCALES] = safetensors.torch.save({f"{layer:02d}": scales[layer] for layer in sorted(scales)})
    is_first = not root.files
    root = root.model_copy(update={"files": {name: sha256(data) for name, data in files.items()}})
    document = root_document(root)
    if is_first:
        _write_if_new(location, ROOT_COPY, document)  # from now on the folder is known as ours
    for name, data in files.items():
        _write_if_new(location, name, data)
    _write_if_new(location, ROOT_COPY, document)
    _write_if_new(location, ROOT, document)
    return Growth(root, growth.samples, growth.order), scales


def load_channel_scales(location: Location, root: Root) -> dict[int, Tensor]:
    """Read the channels' scales; none for a codec that has none."""
    if CHANNEL_SCALES not in root.files:
        return {}
    tensors = safetensors.torch.load(load_file(location, root, CHANNEL_SCALES))
    return {int(name): tensor for name, tensor in tensors.items()}


def _write_if_new(location: Location, name: str, data: bytes) -> None:
    try:
        if location.read(name) == data:
            return
    except FileNotFoundError:
        pass
    location.write(name, data)


def _array_files(root: Root) -> dict[str, bytes]:
    shape = (root.spec.identity.views, root.num_rows)
    layers = root.spec.identity.layers
    groups = {f"{folder}/zarr.json": group_metadata({}) for folder in ("layers", *(f"layers/{k:02d}" for k in layers))}
    return groups | {
        f"layers/{layer:02d}/{name}/zarr.json": array_metadata(
            cut.part, shape, cut.chunk_rows, root.shard_rows, root.spec.compressor, layer
        )
        for layer in layers
        for name, cut in root.shard_formats(layer).items()
    }


def _channel_scales(
    location: Location, root: Root, measure: Callable[[tuple[int, ...]], Mapping[int, Tensor]] | None
) -> dict[int, Tensor]:
    """Return the scales that are known and measure those of the layers that are new."""
    dtype = root.spec.identity.dtype
    if not get_codec(dtype).needs_channel_scale:
        return {}
    known = load_channel_scales(location, root)
    lacking = tuple(layer for layer in root.spec.identity.layers if layer not in known)
    if lacking and measure is None:
        raise UsageError(f"dtype {dtype!r}: needs a sample of rows to be measured first; pass measure to open_writer")
    if lacking and measure is not None:
        measured = measure(lacking)
        if set(measured) != set(lacking):
            raise IntegrityError(f"the sample covers layers {sorted(measured)}, expected {list(lacking)}")
        known |= {layer: measure_channel_scale(tokens) for layer, tokens in measured.items()}
    return known
