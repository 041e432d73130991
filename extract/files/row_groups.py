"""Reads single values of a binary Parquet column without holding the whole column; knows nothing of images."""

import bisect
import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUM_KEPT = 4  # row groups in memory; decoding ahead of rows in order spans no more


class RowGroups:
    """The values of one column over several files; row groups are read whole, and the last few stay in memory."""

    def __init__(self, files: Sequence[tuple[Path, pq.FileMetaData]], column: str) -> None:
        self._files = files
        self._column = column
        self._groups = [(file, group) for file, (_, meta) in enumerate(files) for group in range(meta.num_row_groups)]
        sizes = (files[file][1].row_group(group).num_rows for file, group in self._groups)
        self._starts = [0, *itertools.accumulate(sizes)]
        self._kept: OrderedDict[int, pa.Array] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, row: int) -> bytes:
        """Return the value of a row, empty where it is null; threads may call it."""
        group = bisect.bisect_right(self._starts, row) - 1
        return self._load(group)[row - self._starts[group]].as_py() or b""

    def _load(self, group: int) -> pa.Array:
        with self._lock:  # a second thread for the same group waits instead of reading it again
            if group not in self._kept:
                self._kept[group] = self._read_group(*self._groups[group])
            self._kept.move_to_end(group)
            if len(self._kept) > NUM_KEPT:
                self._kept.popitem(last=False)
            return self._kept[group]

    def _read_group(self, file: int, group: int) -> pa.Array:
        path, metadata = self._files[file]
        with pq.ParquetFile(path, metadata=metadata) as parquet:
            column = parquet.read_row_group(group, columns=[self._column]).column(0).combine_chunks()
        for name in self._column.split(".")[1:]:
            column = column.field(name)
        return column
