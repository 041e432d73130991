"""The size of a store on disk, estimated before it is written."""

from dataclasses import dataclass

from ..codecs import get_codec
from ..errors import IcecoreError
from ..files.location import open_location
from ..format.layout import chunk_rows, shard_rows
from ..format.spec import StoreSpec

ROW_BYTES = 140  # in samples.parquet: mostly the digest and the key
LEDGER_BYTES_PER_CHUNK = 12
LEDGER_BYTES_PER_FILE = 60


@dataclass(frozen=True, slots=True)
class SizeEstimate:
    """Bytes on disk for each layer, and for all other files together."""

    layers: dict[int, int]
    other: int

    @property
    def total(self) -> int:
        """The bytes of the whole store, without the savings of a compressor."""
        return sum(self.layers.values()) + self.other


def require_room(url: str, size: SizeEstimate) -> None:
    """Raise IcecoreError if the bytes still to be written exceed the free space."""
    lacking, free = missing_bytes(url, size), free_bytes(url)
    if free is not None and lacking > free:
        raise IcecoreError(
            f"{url}: needs {lacking / 1e9:.2f} GB more, {free / 1e9:.2f} GB are free; choose a smaller --dtype, "
            "--tokens pool:2 or fewer --layers, or another place"
        )


def missing_bytes(url: str, size: SizeEstimate) -> int:
    """Return the estimated bytes still to be written: the size of the store less that of the files present."""
    return max(0, size.total - sum(open_location(url).sizes().values()))


def free_bytes(url: str) -> int | None:
    """Return the free bytes at the path or URL of a store; None where they are unknown."""
    return open_location(url).free_bytes()


def estimate_size(spec: StoreSpec, num_rows: int, backbone_bytes: int) -> SizeEstimate:
    """Return the size of a store, checksums and indices included, within 5 % of what `extract` writes.

    `backbone_bytes` is the size of the frozen tensors.
    """
    parts = {layer: get_codec(spec.identity.dtype).parts(shape) for layer, shape in spec.layers.items()}
    largest = max(part["values"].row_bytes for part in parts.values())
    rows = spec.shard_rows or shard_rows(num_rows, largest)
    views = spec.identity.views
    layers: dict[int, int] = {}
    ledger = 0
    for layer, by_name in parts.items():
        chunk = chunk_rows(rows, by_name["values"].row_bytes)
        num_chunks, num_shards = -(-num_rows // chunk), -(-num_rows // rows)
        index = num_shards * (16 * (rows // chunk) + 4)
        layers[layer] = views * sum(num_chunks * (chunk * part.row_bytes + 4) + index for part in by_name.values())
        per_part = num_chunks * LEDGER_BYTES_PER_CHUNK + num_shards * LEDGER_BYTES_PER_FILE
        ledger += views * len(by_name) * per_part
    return SizeEstimate(layers, backbone_bytes + ledger + num_rows * ROW_BYTES)
