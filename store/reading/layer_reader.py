"""Reading rows of one layer from its shard files, every chunk checked against the ledger."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..codecs import get_codec
from ..documents.coverage import Coverage
from ..documents.root import Root, shard_name
from ..errors import UsageError
from ..files.location import Location
from ..format.shard import ShardDecoder, ShardFormat
from ..format.spec import LayerSpec

LEAST_PIECE_BYTES = 4096  # rows at least this large are read directly into the destination, others through a buffer


class LayerReader:
    """Reads one layer of a store; safe to share between threads and across a fork."""

    def __init__(
        self,
        location: Location,
        root: Root,
        coverage: Coverage,
        layer: int,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> None:
        self._location = location
        self._root = root
        self._coverage = coverage
        self._layer = layer
        self._channel_scale = channel_scale
        self._formats = root.shard_formats(layer)
        self._codec = get_codec(root.spec.identity.dtype)

    @property
    def spec(self) -> LayerSpec:
        """The shape of the layer."""
        return self._root.spec.layers[self._layer]

    @property
    def chunk_rows(self) -> int:
        """The rows in a chunk, the least that a read from disk costs."""
        return self._formats["values"].chunk_rows

    def rows(
        self, rows: slice | Int64[np.ndarray, " row"], view: int = 0, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of rows, in the order asked for.

        Raises:
            UsageError: a row is out of range.
            IncompleteError: a row is not extracted yet, or failed.
            IntegrityError: a chunk on disk is damaged.
        """
        return self.decode({name: torch.from_numpy(part) for name, part in self.parts(rows, view).items()}, dtype)

    def decode(
        self, parts: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of stored parts, on the device of the parts."""
        return self._codec.decode(parts, dtype, self._channel_scale)

    def empty(self, num_rows: int) -> dict[str, np.ndarray]:
        """Return uninitialised arrays for the parts of `num_rows` rows, by part."""
        return {name: shard_format.empty(num_rows) for name, shard_format in self._formats.items()}

    def parts(self, rows: slice | Int64[np.ndarray, " row"], view: int = 0) -> dict[str, np.ndarray]:
        """Return the stored parts of rows, still encoded, in the order asked for."""
        unique_rows, inverse = np.unique(self._resolve(rows), return_inverse=True)
        if len(unique_rows) == len(inverse):
            arrays, buffer_indices = self.empty(len(inverse)), np.empty_like(inverse)
            buffer_indices[inverse] = np.arange(len(inverse))
            self.read_into(arrays, buffer_indices, unique_rows, view)
            return arrays
        arrays = self.empty(len(unique_rows))
        self.read_into(arrays, np.arange(len(unique_rows)), unique_rows, view)
        return {name: values[inverse] for name, values in arrays.items()}

    def read_into(
        self,
        into: Mapping[str, np.ndarray],
        buffer_indices: Int64[np.ndarray, " row"],
        rows: Int64[np.ndarray, " row"],
        view: int = 0,
    ) -> None:
        """Read ascending rows, `rows[i]` to `into[part][buffer_indices[i]]` in arrays made by `empty`.

        Every chunk is read once.
        """
        self._coverage.require(rows, self._layer, view)
        for name in self._formats:
            self._read_part(name, into[name], buffer_indices, rows, view)

    def _resolve(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            return np.arange(*rows.indices(self._root.num_rows))
        outside = rows[(rows < 0) | (rows >= self._root.num_rows)]
        if len(outside):
            raise UsageError(f"row {outside[0]}: the store has rows 0 to {self._root.num_rows - 1}")
        return rows

    def _read_part(self, part: str, into: np.ndarray, buffer_indices: np.ndarray, rows: np.ndarray, view: int) -> None:
        shard_format = self._formats[part]
        chunks, starts = np.unique(rows // shard_format.chunk_rows, return_index=True)
        stops = [*starts[1:], len(rows)]
        for shard, first, start, stop in _runs(chunks, shard_format):
            name = shard_name(self._layer, part, view, shard, len(shard_format.part.shape))
            digest = self._coverage.digest(shard, self._layer, view, part)
            spans = [slice(starts[k], stops[k]) for k in range(start, stop)]
            wanted = [(rows[span] % shard_format.chunk_rows, buffer_indices[span]) for span in spans]
            decoder = ShardDecoder(self._location, name, shard_format, digest)
            if shard_format.part.row_bytes < LEAST_PIECE_BYTES:
                _read_staged(decoder, first, shard_format, into, wanted)
            else:
                decoder.read(first, [_pieces(shard_format, into, *of_chunk) for of_chunk in wanted])


def _pieces(
    shard_format: ShardFormat, into: np.ndarray, within: np.ndarray, buffer_indices: np.ndarray
) -> list[np.ndarray]:
    """Return the memory for each run of a chunk's bytes: wanted rows go to `into`, all others to a scratch array.

    `within` holds the ascending indices of the wanted rows in the chunk. Rows that are neighbours both in the chunk and
    in `into` form one piece, so that one system call fills few pieces.
    """
    size, room = shard_format.part.row_bytes, into.reshape(-1).view(np.uint8)
    scratch = np.empty((shard_format.chunk_rows - len(within)) * size, np.uint8)
    breaks = np.flatnonzero((np.diff(within) != 1) | (np.diff(buffer_indices) != 1)) + 1
    starts = np.append(0, breaks)
    lengths = np.append(starts[1:], len(within)) - starts
    firsts = within[starts]
    gaps = firsts - np.append(0, (firsts + lengths)[:-1])
    pieces: list[np.ndarray] = []
    for gap, offset, length in zip(
        (gaps * size).tolist(), (buffer_indices[starts] * size).tolist(), (lengths * size).tolist(), strict=True
    ):
        if gap:
            pieces.append(scratch[:gap])
            scratch = scratch[gap:]
        pieces.append(room[offset : offset + length])
    return [*pieces, scratch] if len(scratch) else pieces


def _read_staged(
    decoder: ShardDecoder,
    first: int,
    shard_format: ShardFormat,
    into: np.ndarray,
    wanted: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Read whole chunks into a buffer and copy the wanted rows, which is faster than reading many tiny pieces."""
    whole = shard_format.empty(len(wanted) * shard_format.chunk_rows)
    chunks = whole.reshape(len(wanted), -1).view(np.uint8)
    decoder.read(first, [[chunk] for chunk in chunks])
    for number, (within, buffer_indices) in enumerate(wanted):
        into[buffer_indices] = whole[number * shard_format.chunk_rows + within]


def _runs(chunks: np.ndarray, shard_format: ShardFormat) -> Iterator[tuple[int, int, int, int]]:
    """Cut ascending chunk numbers into runs of neighbours in one shard: (shard, first chunk in it, start, stop)."""
    shards = chunks // shard_format.num_chunks
    borders = np.flatnonzero((np.diff(chunks) != 1) | (np.diff(shards) != 0)) + 1
    for start, stop in zip([0, *borders], [*borders, len(chunks)], strict=True):
        if stop > start:
            yield int(shards[start]), int(chunks[start] % shard_format.num_chunks), int(start), int(stop)
