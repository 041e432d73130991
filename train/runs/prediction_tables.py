"""Tables of predictions, one per adapter, read a block of rows at a time, since all of them may exceed memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..targets.target import wide

BLOCK_BYTES = 128 << 20  # of a block of all tables: each of them is read in pieces that are worth a call


@dataclass(frozen=True)
class PredictionTables:
    """Predictions of adapters for the same rows, one table per adapter.

    `read(into, name, start)` fills the tensor `into`, rows x outputs, with rows of the table `name` from `start` on.
    """

    names: tuple[str, ...]
    num_rows: int
    num_outputs: int
    dtype: torch.dtype
    read: Callable[[Tensor, str, int], None]

    @classmethod
    def in_memory(cls, names: Sequence[str], tables: Float[Tensor, "adapter row output"]) -> "PredictionTables":
        """Return tables that are in memory already."""
        place = {name: index for index, name in enumerate(names)}

        def read(into: Tensor, name: str, start: int) -> None:
            into.copy_(tables[place[name], start : start + len(into)])

        return cls(tuple(names), tables.shape[1], tables.shape[2], tables.dtype, read)

    def subset(self, places: Sequence[int]) -> "PredictionTables":
        """Return the tables at some indices, in that order."""
        return replace(self, names=tuple(self.names[place] for place in places))

    def blocks(self) -> Iterator[tuple[int, int, Float[Tensor, "adapter row output"]]]:
        """Yield (start, stop, block) over all rows; the block's buffer is reused, so copy what must outlive the step.

        Blocks are float32, or float64 where the tables are stored in float64.
        """
        dtype = wide(self.dtype)
        row_bytes = max(1, len(self.names) * self.num_outputs * dtype.itemsize)
        most = max(1, min(self.num_rows, BLOCK_BYTES // row_bytes))
        block = torch.empty(len(self.names), most, self.num_outputs, dtype=dtype)
        stored = torch.empty(most, self.num_outputs, dtype=self.dtype)
        for start in range(0, self.num_rows, most):
            stop = min(start + most, self.num_rows)
            rows = block[:, : stop - start]
            for name, into in zip(self.names, rows, strict=True):
                self.read(stored[: stop - start], name, start)
                into.copy_(stored[: stop - start])
            yield start, stop, rows
