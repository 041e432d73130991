"""What a run folder says, read into plain values for the page; knows nothing of how they are drawn."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Trained:
    """One trained adapter: what it was, and its metrics epoch by epoch."""

    adapter_id: str
    adapter: str
    layer: int
    config: dict[str, Any]
    seed: int
    status: str
    num_parameters: int
    seconds: float
    train_loss: tuple[float | None, ...]
    validation_score: tuple[float | None, ...]
    validation_loss: tuple[float | None, ...]

    @property
    def top1(self) -> float:
        """Validation accuracy after the last epoch; 0 where the adapter diverged."""
        return (self.validation_score[-1] or 0.0) if self.status == "ok" else 0.0


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything the page shows of one run; `selection` is None before `icecore select`."""

    run: dict[str, Any]
    trained: tuple[Trained, ...]
    selection: dict[str, Any] | None

    @property
    def families(self) -> tuple[str, ...]:
        """Adapter families, in the order of the settings that asked for them."""
        return tuple(dict.fromkeys(each.adapter for each in self.trained))

    def best(self, family: str) -> dict[int, Trained]:
        """Return the best configuration by validation of a family at every layer; ties by lower loss, as `select`."""
        best: dict[int, Trained] = {}
        for each in sorted(self.of(family), key=lambda each: (each.top1, -(each.validation_loss[-1] or 0.0))):
            best[each.layer] = each
        return dict(sorted(best.items()))

    def of(self, family: str) -> list[Trained]:
        """List the adapters of one family."""
        return [each for each in self.trained if each.adapter == family]

    def test_score(self, family: str) -> dict[int, float]:
        """Test accuracy of the best configuration at every layer; empty before `select`, or without test rows."""
        table = self.selection["table"] if self.selection else []
        return {
            row["layer"]: row["test_score"]
            for row in table
            if row["adapter"] == family and row["test_score"] is not None
        }


def read_findings(run: Path) -> Findings:
    """Read a run folder; raises UsageError where it is none."""
    from icecore.store import UsageError

    if not (run / "run.json").is_file():
        raise UsageError(f"no run at {str(run)!r}: expected a folder with run.json, as `icecore train --out` writes it")
    trained = tuple(_read_trained(run / "results.parquet"))
    selection = _read_selection(run, {each.adapter_id for each in trained})
    return Findings(json.loads((run / "run.json").read_text()), trained, selection)


def _read_selection(run: Path, trained: set[str]) -> dict[str, Any] | None:
    from icecore.store import IcecoreError

    path = run / "selection.json"
    if not path.is_file():
        return None
    selection = json.loads(path.read_text())
    if not {member["adapter_id"] for member in selection["selected"]} <= trained:
        raise IcecoreError(f"{path}: chooses adapters that {run} does not hold; choose again with icecore select {run}")
    return selection


def _read_trained(results: Path) -> list[Trained]:
    import pyarrow.parquet as pq

    epochs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pq.read_table(results, use_threads=False).to_pylist():
        epochs[row["adapter_id"]].append(row)
    return [_trained(sorted(rows, key=lambda row: row["epoch"])) for rows in epochs.values()]


def _trained(rows: list[dict[str, Any]]) -> Trained:
    last = rows[-1]
    config = json.loads(last["config"])
    return Trained(
        adapter_id=last["adapter_id"],
        adapter=last["adapter"],
        layer=last["layer"],
        config=config | {"lr": last["lr"], "weight_decay": last["weight_decay"]},
        seed=last["seed"],
        status=last["status"],
        num_parameters=last["num_parameters"],
        seconds=sum(row["seconds"] or 0.0 for row in rows),
        train_loss=tuple(row["train_loss"] for row in rows),
        validation_score=tuple(row["validation_score"] for row in rows),
        validation_loss=tuple(row["validation_loss"] for row in rows),
    )
