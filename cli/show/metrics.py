"""A run's results for other tools, such as DVC: metrics.json, results.csv and by_layer.csv in the run folder."""

import json
from typing import Any

from .outcome import Outcome
from .wording import layers_in_words

FACTS = ("num_adapters", "num_diverged", "elapsed_seconds", "bytes_read")


def write_metrics(run: str) -> None:
    """Write the three files; scores of a selection only where it was made after the last training."""
    from icecore.store import write_atomic
    from icecore.train import open_run, read_chosen

    opened, chosen = open_run(run), read_chosen(run)
    metrics: dict[str, Any] = {key: opened.facts["cost"][key] for key in FACTS}
    results = [row | {"layers": layers_in_words(row["layers"])} for row in opened.results.to_pylist()]
    write_atomic(f"{run}/results.csv", _csv([{k: v for k, v in row.items() if k != "recipe"} for row in results]))
    if chosen is not None and chosen.is_of(opened):
        outcome = Outcome(chosen.content)
        metrics |= {key: outcome.as_json()[key] for key in ("validation", "honest", "test", "cost")}
        write_atomic(f"{run}/by_layer.csv", _csv([_flat(row) for row in outcome.selection["table"]]))
    write_atomic(f"{run}/metrics.json", json.dumps(metrics, indent=2).encode())


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"layers": layers_in_words(row["layers"]), "config": json.dumps(row["config"])}


def _csv(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import csv

    sink = pa.BufferOutputStream()
    csv.write_csv(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()
