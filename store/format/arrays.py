"""The Zarr metadata of a store, made by zarr-python so that every Zarr reader opens what is written here."""

from typing import Any

import numpy as np
import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec
from zarr.storage import MemoryStore

from ..choose import choose
from .part import Part

COMPRESSORS = {"zstd": ZstdCodec, "blosc": BloscCodec, "gzip": GzipCodec}


def group_metadata(attributes: dict[str, Any]) -> bytes:
    """Return the zarr.json of the store's root group."""
    files: dict[str, Any] = {}
    zarr.create_group(MemoryStore(files), attributes=attributes)
    return files["zarr.json"].to_bytes()


def array_metadata(
    part: Part, shape: tuple[int, int], chunk_rows: int, shard_rows: int, compressor: str | None, layer: int
) -> bytes:
    """Return the zarr.json of one part of one layer, `shape` being (views, rows)."""
    files: dict[str, Any] = {}
    compressors: list[BytesBytesCodec] = [] if compressor is None else [choose(COMPRESSORS, compressor, "compressor")()]
    zarr.create_array(
        MemoryStore(files),
        shape=(*shape, *part.shape),
        dtype=np.dtype(part.dtype),
        chunks=(1, chunk_rows, *part.shape),
        shards=(1, shard_rows, *part.shape),
        filters=None,
        compressors=[*compressors, Crc32cCodec()],
        dimension_names=("view", "row", *part.dimensions),
        attributes={"layer": layer, **part.attributes},
        config={"write_empty_chunks": True},
    )
    return files["zarr.json"].to_bytes()
