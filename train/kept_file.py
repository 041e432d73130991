"""RUN/validation.safetensors: what every finished adapter predicts for the validation rows, and the truth about them.

`rows` and `labels`, then `predictions/ADAPTER_ID` of every adapter, in the order of the sweep and in the type that the
ledger keeps. Numbers are in deviations from the mean of the train rows, which run.json records under `target`. One
adapter at a time is in memory while the file is written.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from .target import Labels
from .tensor_file import Spec, TensorFile, TensorWriter

FILE, OLD_FILE = "validation.safetensors", "validation.parquet"
PREFIX = "predictions/"


def write_predictions(
    file: IO[bytes], predictions: Mapping[str, Tensor], rows: Int64[np.ndarray, " row"], labels: Labels
) -> str:
    """Write the file and return the digest that stands for it.

    `predictions` by adapter_id, all of one type and shape, may be loaded as they are asked for.
    """
    tensors = {"rows": torch.from_numpy(rows), "labels": labels}
    specs = {name: Spec.of(tensor) for name, tensor in tensors.items()}
    if predictions:
        specs |= dict.fromkeys(map(PREFIX.__add__, predictions), Spec.of(next(iter(predictions.values()))))
    writer = TensorWriter(file, specs)
    for name, tensor in tensors.items():
        writer.write(name, tensor)
    for key, table in predictions.items():
        writer.write(f"{PREFIX}{key}", table)
    return writer.finish()


def read_predictions(run: str) -> tuple[dict[str, Float[Tensor, "row output"]], Int64[Tensor, " row"], Labels]:
    """Return the predictions of a RUN by adapter_id, the rows and their labels."""
    path = Path(run) / FILE
    if not path.exists():
        return _read_parquet(Path(run) / OLD_FILE)
    file = TensorFile(path)
    keys = [name for name in file.specs if name.startswith(PREFIX)]
    return {key.removeprefix(PREFIX): file.read(key) for key in keys}, file.read("rows"), file.read("labels")


def _read_parquet(path: Path) -> tuple[dict[str, Float[Tensor, "row output"]], Int64[Tensor, " row"], Labels]:
    """Read what an earlier version wrote: a row for every adapter and validation row, in float16."""
    table = pq.read_table(path, use_threads=False)
    ids = list(dict.fromkeys(table["adapter_id"].to_pylist()))
    num_rows = len(table) // max(1, len(ids))
    values = table["predictions"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    tables = torch.from_numpy(np.array(values)).view(len(ids), num_rows, -1) if ids else ()
    truth = table.select(["row", "label"]).slice(0, num_rows).to_pydict()
    rows, labels = torch.tensor(truth["row"], dtype=torch.int64), torch.tensor(truth["label"])
    return dict(zip(ids, tables, strict=True)), rows, labels
