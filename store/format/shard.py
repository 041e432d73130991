"""One shard file in Zarr's `sharding_indexed` layout, written front to back and read by chunk.

    | chunk 0 | CRC-32C | chunk 1 | CRC-32C | ... | index: (offset, bytes) of every chunk, <u8 | CRC-32C of the index |

zarr-python builds a whole shard in memory, at a tenth of the disk's speed. This module writes the same layout as rows
arrive, so that memory stays at one chunk a layer, and reads chunks straight into the caller's arrays.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import google_crc32c
import numpy as np

from ..configuration import Frozen
from ..errors import IntegrityError
from ..files.location import Location
from .compressors import Compressor
from .part import Part

ABSENT = np.iinfo(np.uint64).max  # both index numbers of a chunk that was never written


class FileDigest(Frozen):
    """The expected content of a finished shard file: its size, and the CRC-32C of its index and of each stored chunk.

    One CRC over the whole file would detect nothing: a CRC over data followed by the data's own CRC is a constant.
    """

    num_bytes: int
    index: int
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShardFormat:
    """The layout of an array's shards: rows in a chunk, chunks in a full shard, and the chunks' compressor, if any."""

    part: Part
    chunk_rows: int
    num_chunks: int
    compressor: Compressor | None = None

    @property
    def chunk_bytes(self) -> int:
        """The size of a chunk in bytes, before compression."""
        return self.chunk_rows * self.part.row_bytes

    @property
    def index_bytes(self) -> int:
        """The size of the index and its checksum in bytes."""
        return 16 * self.num_chunks + 4

    def empty(self, num_rows: int) -> np.ndarray:
        """Return an uninitialised array of `num_rows` rows."""
        return np.empty((num_rows, *self.part.shape), self.part.dtype)


def _number(crc: np.ndarray) -> int:
    return int.from_bytes(crc.tobytes(), "little")


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


class ShardEncoder:
    """Writes one shard file while its rows arrive in ascending order; rows that are never appended become zeros."""

    def __init__(self, file: IO[bytes], shape: ShardFormat, num_rows: int) -> None:
        self._file = file
        self._format = shape
        self._num_rows = num_rows
        self._buffer = np.zeros((shape.chunk_rows, *shape.part.shape), shape.part.dtype)
        self._index = np.full((shape.num_chunks, 2), ABSENT, np.dtype("<u8"))
        self._chunks: list[int] = []
        self._num_bytes = 0

    def append(self, positions: Sequence[int], values: np.ndarray) -> None:
        """Append rows; `positions` are their ascending indices within the shard."""
        start = 0
        while start < len(positions):
            chunk = positions[start] // self._format.chunk_rows
            while len(self._chunks) < chunk:
                self._flush()
            first = chunk * self._format.chunk_rows
            stop = int(np.searchsorted(positions, first + self._format.chunk_rows))
            self._buffer[np.asarray(positions[start:stop]) - first] = values[start:stop]
            start = stop

    def finish(self) -> FileDigest:
        """Write the remaining chunks and the index, and return the digest of the finished file."""
        while len(self._chunks) * self._format.chunk_rows < self._num_rows:
            self._flush()
        index = self._index.tobytes()
        crc = google_crc32c.value(index)
        self._write(index + crc.to_bytes(4, "little"))
        return FileDigest(num_bytes=self._num_bytes, index=crc, chunks=tuple(self._chunks))

    def _flush(self) -> None:
        plain = _bytes(self._buffer)
        data = plain if self._format.compressor is None else self._format.compressor.encode(plain)
        crc = google_crc32c.value(data)
        self._index[len(self._chunks)] = self._num_bytes, len(data) + 4
        self._write(data)
        self._write(crc.to_bytes(4, "little"))
        self._chunks.append(crc)
        self._buffer[...] = 0

    def _write(self, data: bytes | np.ndarray) -> None:
        view = memoryview(data) if isinstance(data, bytes) else data.data
        while view:  # an unbuffered file may take less than all of it
            view = view[self._file.write(view) :]
        self._num_bytes += len(data)


class ShardDecoder:
    """Reads chunks of one shard file and checks every chunk against the digest from when the file was finished."""

    def __init__(self, location: Location, name: str, shape: ShardFormat, digest: FileDigest) -> None:
        self._location = location
        self._name = name
        self._format = shape
        self._digest = digest

    def read(self, first: int, chunks: Sequence[Sequence[np.ndarray]]) -> None:
        """Read consecutive whole chunks, from chunk `first` on, into byte arrays.

        `chunks[i]` lists the pieces of memory that the bytes of chunk `first + i` fill one after another.

        Raises:
            IntegrityError: the file is missing or short, or a chunk does not match its recorded checksum.
        """
        if self._format.compressor is None:
            self._read_plain(first, chunks)
        else:
            self._read_compressed(first, chunks)

    def check(self) -> list[tuple[int, str]]:
        """Read every byte and return the faults as (chunk, description); chunk -1 stands for the file as a whole."""
        try:
            data = self._fetch(0, self._digest.num_bytes + 1, exact=False)
        except FileNotFoundError:
            return [(-1, "is missing")]
        if len(data) != self._digest.num_bytes:
            more = "more than " if len(data) > self._digest.num_bytes else ""
            return [
                (-1, f"has {more}{min(len(data), self._digest.num_bytes)} bytes, expected {self._digest.num_bytes}")
            ]
        index, trailer = data[-self._format.index_bytes : -4], data[-4:]
        if google_crc32c.value(index) != self._digest.index or _number(trailer) != self._digest.index:
            return [(-1, "has an index that does not match its recorded checksum")]
        return self._bad_chunks(data, index.view("<u8").reshape(-1, 2))

    def _bad_chunks(self, data: np.ndarray, index: np.ndarray) -> list[tuple[int, str]]:
        bad: list[tuple[int, str]] = []
        for number, crc in enumerate(self._digest.chunks):
            offset, num_bytes = (int(value) for value in index[number])
            chunk, trailer = np.split(data[offset : offset + num_bytes], [num_bytes - 4])
            if google_crc32c.value(chunk) != crc or _number(trailer) != crc:
                bad.append((number, "does not match its recorded checksum"))
        return bad

    def _read_plain(self, first: int, chunks: Sequence[Sequence[np.ndarray]]) -> None:
        trailer = np.empty(4, np.uint8)
        stride = self._format.chunk_bytes + 4
        buffers = [buffer for pieces in chunks for buffer in (*pieces, trailer)]
        count = self._open(first * stride, buffers)
        if count != len(chunks) * stride:
            raise self._damaged(first + count // stride, "ends early")
        for number, pieces in enumerate(chunks, first):
            self._compare(number, pieces)

    def _read_compressed(self, first: int, chunks: Sequence[Sequence[np.ndarray]]) -> None:
        index = self._read_index()
        for number, pieces in enumerate(chunks, first):
            offset, num_bytes = (int(value) for value in index[number])
            data = self._fetch(offset, num_bytes)[:-4]
            self._compare(number, [data])
            assert self._format.compressor is not None
            plain, start = np.frombuffer(self._format.compressor.decode(data), np.uint8), 0
            for piece in pieces:
                piece[:] = plain[start : start + len(piece)]
                start += len(piece)

    def _read_index(self) -> np.ndarray:
        data = self._fetch(self._digest.num_bytes - self._format.index_bytes, self._format.index_bytes)
        if google_crc32c.value(data[:-4]) != self._digest.index:
            raise self._damaged(0, "has an index that does not match its checksum")
        return data[:-4].view("<u8").reshape(-1, 2)

    def _compare(self, number: int, pieces: Sequence[np.ndarray]) -> None:
        if functools.reduce(google_crc32c.extend, pieces, 0) != self._digest.chunks[number]:
            raise self._damaged(number, "does not match the checksum that was recorded")

    def _fetch(self, offset: int, num_bytes: int, exact: bool = True) -> np.ndarray:
        data = np.empty(num_bytes, np.uint8)
        count = self._open(offset, [data]) if exact else self._location.read_into(self._name, offset, [data])
        if exact and count != num_bytes:
            raise self._damaged(0, "ends early")
        return data[:count]

    def _open(self, offset: int, buffers: Sequence[np.ndarray]) -> int:
        try:
            return self._location.read_into(self._name, offset, buffers)
        except FileNotFoundError:
            raise self._damaged(0, "is missing though the ledger lists it") from None

    def _damaged(self, chunk: int, what: str) -> IntegrityError:
        where = f"{self._location.url}: {self._name}, chunk {chunk}"
        return IntegrityError(
            f"{where}: {what}; run 'icecore verify --repair {self._location.url}', then extract again"
        )
