"""A safetensors file that is written front to back and read by rows, so that it may be larger than memory.

Its last tensor, `crc32c`, holds the CRC-32C of the header and of every other tensor, in their order. A tensor that is
read from its first row to its last, in order, is checked without being read twice. The SHA-256 of header and checksums
stands for the file. Knows nothing of what tensors mean.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np
import torch
from torch import Tensor

from icecore.store import IntegrityError

CHECKSUMS = "crc32c"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "I64": torch.int64,
    "U8": torch.uint8,
    "U32": torch.uint32,
}
NOTHING = np.empty(0, np.uint8)
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor in a file: its type, its shape, and where its bytes begin after the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int = 0

    @classmethod
    def of(cls, tensor: Tensor) -> "TensorSpec":
        """Describe a tensor."""
        return cls(tensor.dtype, tuple(tensor.shape))

    @property
    def row_bytes(self) -> int:
        """The bytes of one entry of the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def num_bytes(self) -> int:
        """The bytes of the whole tensor."""
        return math.prod(self.shape) * self.dtype.itemsize


class TensorWriter:
    """Writes tensors in the order of `specs`, each at once or in consecutive blocks of rows."""

    def __init__(self, file: IO[bytes], specs: Mapping[str, TensorSpec]) -> None:
        self._file = file
        self._specs = dict(specs)
        header = _header(self._specs | {CHECKSUMS: TensorSpec(torch.uint32, (len(specs) + 1,))})
        self._file.write(header)
        self._digest = hashlib.sha256(header)
        self._checksums = [google_crc32c.value(header)]
        self._left = 0

    def write(self, name: str, rows: Tensor) -> None:
        """Write the next rows of the tensor `name`; a tensor must be complete before the next begins."""
        if not self._left:
            self._checksums.append(0)
            self._left = self._specs[name].num_bytes
        expected = list(self._specs)[len(self._checksums) - 2]
        assert (name, rows.dtype) == (expected, self._specs[name].dtype), f"{name} of {rows.dtype}, due is {expected}"
        data = rows.contiguous().reshape(-1).view(torch.uint8).numpy()
        self._checksums[-1] = google_crc32c.extend(self._checksums[-1], data)
        self._file.write(data.data)
        self._left -= data.nbytes

    def finish(self) -> str:
        """Write the checksums at the end of the file; return the SHA-256 of header and checksums."""
        assert not self._left and len(self._checksums) == len(self._specs) + 1, "some tensor was not written"  # noqa: PT018
        checksums = b"".join(checksum.to_bytes(4, "little") for checksum in self._checksums)
        self._file.write(checksums)
        self._digest.update(checksums)
        return self._digest.hexdigest()


def _header(specs: Mapping[str, TensorSpec]) -> bytes:
    entries: dict[str, Any] = {}
    offset = 0
    for name, spec in specs.items():
        end = offset + spec.num_bytes
        entries[name] = {"dtype": NAMES[spec.dtype], "shape": spec.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


class TensorFile:
    """Reads rows of the tensors of a TensorWriter file; IntegrityError if the bytes differ from those written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            header = file.read(8)
            header += file.read(min(int.from_bytes(header, "little"), path.stat().st_size))
        try:
            self._begin, entries = len(header), json.loads(header[8:])
            self.specs = {name: _spec(entry) for name, entry in entries.items()}
            checksums = np.empty(len(self.specs), "<u4")
            self._fill(checksums.view(np.uint8), self.specs[CHECKSUMS], 0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise self._damaged("its header") from None
        names, found = [name for name in self.specs if name != CHECKSUMS], checksums.tolist()
        if found[0] != google_crc32c.value(header):
            raise self._damaged("its header")
        self.digest = hashlib.sha256(header + checksums.tobytes()).hexdigest()
        self._checksums = dict(zip(names, found[1:], strict=True))
        self._progress: dict[str, tuple[int, int]] = {}  # the next row to check, and the checksum of the rows before it

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Return the rows [start, stop) of a tensor; all rows from `start` if `stop` is None."""
        spec = self.specs[name]
        rows = torch.empty((spec.shape[0] if stop is None else stop) - start, *spec.shape[1:], dtype=spec.dtype)
        self.read_into(rows, name, start)
        return rows

    def read_into(self, rows: Tensor, name: str, start: int) -> None:
        """Fill `rows`, contiguous and of the stored type, with the rows [start, start + len(rows)) of a tensor.

        The checksum is verified when the rows of a tensor are read in order from the first to the last.
        """
        spec, data = self.specs[name], rows.view(torch.uint8).flatten().numpy() if rows.numel() else NOTHING
        self._fill(data, spec, start)
        row, checksum = self._progress.get(name, (0, 0)) if start else (0, 0)
        if row == start:
            checksum = google_crc32c.extend(checksum, data)
            self._progress[name] = (start + len(rows), checksum)
            if start + len(rows) == spec.shape[0] and checksum != self._checksums[name]:
                raise self._damaged(repr(name))

    def _fill(self, data: np.ndarray, spec: TensorSpec, start: int) -> None:
        with self.path.open("rb") as file:  # opened for each read, so that no caller has to close the file
            file.seek(self._begin + spec.offset + start * spec.row_bytes)
            if file.readinto(data.data) != len(data):
                raise self._damaged("its length")

    def _damaged(self, what: str) -> IntegrityError:
        return IntegrityError(f"{self.path}: {what} is not what was written; train again into the same RUN")


def _spec(entry: Mapping[str, Any]) -> TensorSpec:
    shape: Sequence[int] = entry["shape"]
    return TensorSpec(DTYPES[entry["dtype"]], tuple(shape), entry["data_offsets"][0])
