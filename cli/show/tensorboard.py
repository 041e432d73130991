"""The learning curves of a sweep as TensorBoard event files, in RUN/tensorboard/FAMILY/layer K/ADAPTER_ID."""

import importlib.util
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icecore.train import Progress, Run

CURVES = ("train_loss", "validation_score", "validation_loss")


class TensorBoard:
    """The event files of a run, one for each adapter.

    A file is opened for each write: a sweep may have more adapters than a process may have open files.
    Creating an instance raises UsageError where tensorboard is not installed.
    """

    def __init__(self, run: str) -> None:
        from icecore.store import UsageError

        if importlib.util.find_spec("tensorboard") is None:
            raise UsageError("--log tensorboard: it is not installed; pip install 'icecore[tensorboard]'")
        self._folder = Path(run) / "tensorboard"

    def watch(self, state: "Progress") -> None:
        """Append the results of the epochs that ended since the last call."""
        from icecore.train.runs import result_to_row

        for result in state.results:
            self._append([result_to_row(result)])

    def finish(self, run: "Run") -> None:
        """Write the curves of adapters without a file: trained by an earlier call or by other processes."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in run.results.to_pylist():
            found.setdefault(row["adapter_id"], []).append(row)
        for rows in found.values():
            if not self._path(rows[0]).is_file():
                self._append(rows)

    def _path(self, row: Mapping[str, Any]) -> Path:
        from .wording import layers_in_words

        where = f"layer {layers_in_words(row['layers'])}"
        return self._folder / row["adapter"] / where / row["adapter_id"] / "events.out.tfevents.0.icecore"

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        events: Any = event_pb2
        summaries: Any = summary_pb2
        path = self._path(rows[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.is_file()
        with path.open("ab") as file:
            writer = RecordWriter(file)
            if is_new:
                writer.write(events.Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
            for row in rows:
                values = [summaries.Summary.Value(tag=name, simple_value=row[name]) for name in CURVES]
                event = events.Event(wall_time=time.time(), step=row["epoch"], summary=summaries.Summary(value=values))
                writer.write(event.SerializeToString())
