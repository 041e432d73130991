"""Reading one layer: any rows, straight from the shards that hold them, every chunk checked against the ledger."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .codecs import get_codec
from .coverage import Coverage
from .errors import UsageError
from .location import Location
from .root import Root, shard_name
from .shard import ShardDecoder, ShardFormat
from .spec import LayerSpec


class LayerReader:
    """One layer of a store; safe to share between threads, and after a fork."""

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
        """How many rows a read costs at least."""
        return self._formats["values"].chunk_rows

    def rows(
        self, rows: slice | Int64[np.ndarray, " row"], view: int = 0, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "row token width"]:
        """Return tokens of some rows, in the order asked for; IncompleteError for a row that is not there."""
        return self.decode(self.parts(rows, view), dtype)

    def decode(
        self, parts: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens that stored arrays stand for."""
        return self._codec.decode(parts, dtype, self._channel_scale)

    def empty(self, num_rows: int) -> dict[str, np.ndarray]:
        """Return uninitialised arrays for some rows, as the codec keeps them."""
        return {name: np.empty((num_rows, *cut.part.shape), cut.part.dtype) for name, cut in self._formats.items()}

    def parts(self, rows: slice | Int64[np.ndarray, " row"], view: int = 0) -> dict[str, np.ndarray]:
        """Return the stored arrays of some rows, as the codec keeps them."""
        wanted = self._resolve(rows)
        self._coverage.require(wanted, self._layer, view)
        chunks = np.unique(wanted // self.chunk_rows)
        where = np.searchsorted(chunks, wanted // self.chunk_rows) * self.chunk_rows + wanted % self.chunk_rows
        return {name: _take(self._read(name, chunks, view), where) for name in self._formats}

    def _resolve(self, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            return np.arange(*rows.indices(self._root.num_rows))
        outside = rows[(rows < 0) | (rows >= self._root.num_rows)]
        if len(outside):
            raise UsageError(f"row {outside[0]}: the store has rows 0 to {self._root.num_rows - 1}")
        return rows

    def _read(self, part: str, chunks: np.ndarray, view: int) -> np.ndarray:
        cut = self._formats[part]
        out = cut.empty(len(chunks))
        for shard, first, start, stop in _runs(chunks, cut):
            name = shard_name(self._layer, part, view, shard, len(cut.part.shape))
            digest = self._coverage.digest(shard, self._layer, view, part)
            decoder = ShardDecoder(self._location, name, cut, digest)
            decoder.read(first, out[start * cut.chunk_rows : stop * cut.chunk_rows])
        return out


def _runs(chunks: np.ndarray, cut: ShardFormat) -> Iterator[tuple[int, int, int, int]]:
    """Cut ascending chunk numbers into runs of neighbours in one shard: (shard, first chunk in it, start, stop)."""
    shards = chunks // cut.num_chunks
    borders = np.flatnonzero((np.diff(chunks) != 1) | (np.diff(shards) != 0)) + 1
    for start, stop in zip([0, *borders], [*borders, len(chunks)], strict=True):
        if stop > start:
            yield int(shards[start]), int(chunks[start] % cut.num_chunks), int(start), int(stop)


def _take(array: np.ndarray, where: np.ndarray) -> np.ndarray:
    if len(where) and where[-1] - where[0] == len(where) - 1 and bool((np.diff(where) == 1).all()):
        return array[where[0] : where[-1] + 1]
    return array[where]
