"""The test split, which a selection reads once, after the choice is made, so that test rows cannot influence it.

A RUN counts the test reads of all its selections: the more reads, the more optimistic the test figures of the latest.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from icecore.store import IcecoreError, IntegrityError, Store, write_atomic

from ..runs.candidate import Candidate
from ..runs.sealed_folder import document_bytes, load_document
from ..splits.split import groups_of
from ..sweep.predict import predicted_blocks
from ..targets.target import Labels, Target
from .measure import RowResults, row_results

READS = "test_reads.json"
REMEDY = "it counts the readings of the test split: put it back, or remove it and count from there yourself"


@dataclass(frozen=True)
class TestPredictions:
    """Predictions for the test rows: row results of every adapter, by adapter_id, and full predictions of mixtures.

    `known` marks the rows that have a label. Labels are in the unit of the predictions.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    rows: Int64[np.ndarray, " row"]
    keys: list[str]
    labels: Labels
    known: Bool[Tensor, " row"]
    groups: Int64[Tensor, " row"] | None
    row_results: dict[str, RowResults]
    mixtures: list[Float[Tensor, "row classes"]]


class TestSplit:
    """The test rows of a store, sealed until the choice is made."""

    __test__ = False

    def __init__(self, store: Store, target: Target) -> None:
        self._store = store
        self._target = target
        self.num_reads = 0

    def predict_once(
        self,
        chosen: Sequence[Candidate],
        trained: dict[str, dict[str, Tensor]],
        device: torch.device,
        mixtures: Sequence[Mapping[str, float]] = (),
    ) -> TestPredictions:
        """Predict the test rows with all candidates in one read, and mix the predictions by weights.

        Raises:
            IcecoreError: the test split was read before.
        """
        if self.num_reads:
            raise IcecoreError(f"{self._store.url}: the test split was read already; choose first, then read it once")
        self.num_reads += 1
        store, target, rows = self._store, self._target, self._store.rows("test")
        labels = target.truth(store, rows)
        known = target.known(labels)
        mixed = [torch.zeros(len(rows), len(store.classes)) for _ in mixtures]
        parts: dict[str, list[RowResults]] = {one.adapter_id: [] for one in chosen}
        for those, start, tables in predicted_blocks(store, rows, trained, chosen, target, device):
            here = slice(start, start + tables.shape[1])
            found = row_results(target, tables[:, known[here]], labels[here][known[here]])
            for candidate, table, answers in zip(those, tables, found, strict=True):
                parts[candidate.adapter_id].append(answers)
                for mixture, weights in zip(mixed, mixtures, strict=True):
                    mixture[here] += weights.get(candidate.adapter_id, 0.0) * table
        answers = {key: _joined(mine) for key, mine in parts.items() if mine}
        keys = store.samples["key"].take(rows).to_pylist()
        return TestPredictions(rows, keys, labels, known, groups_of(store, rows), answers, mixed)


def _joined(parts: Sequence[RowResults]) -> RowResults:
    return RowResults(torch.cat([part.verdicts for part in parts]), torch.cat([part.losses for part in parts]))


def record_test_read(run: str, selector: str) -> int:
    """Record a test read in the RUN, before it happens; return the number of reads, including this one."""
    path = Path(run) / READS
    reads = [*_reads(path), {"selector": selector}]
    write_atomic(str(path), document_bytes({"reads": reads}, {}))
    return len(reads)


def _reads(path: Path) -> list[object]:
    with contextlib.suppress(OSError, ValueError):
        if isinstance(earlier := json.loads(path.read_bytes()), list):
            return earlier  # of a version that had no checksums
    try:
        reads = load_document(path, REMEDY).content.get("reads")
    except FileNotFoundError:
        return []
    if not isinstance(reads, list):
        raise IntegrityError(f"{path}: expected a list of readings; {REMEDY}")
    return reads
