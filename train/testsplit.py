"""The test split, which a choice can open once: after it is made, so that it cannot change.

A RUN counts its openings, of every choice that was ever made from it: the figures of a later choice are not as clean.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from icecore.store import IcecoreError, IntegrityError, Store, write_atomic

from .candidate import Candidate
from .predict import predict
from .sealed import load_document, seal
from .split import groups_of
from .target import Labels, Target

READS = "test_reads.json"
REMEDY = "it counts the readings of the test split: put it back, or remove it and count from there yourself"


@dataclass(frozen=True)
class TestPredictions:
    """What the chosen adapters say of the test rows; labels, in the unit of predictions, say where a row has none."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    rows: Int64[np.ndarray, " row"]
    keys: list[str]
    labels: Labels
    groups: Int64[Tensor, " row"] | None
    predictions: dict[str, Float[Tensor, "row classes"]]


class TestSplit:
    """The test rows of a store, sealed until the choice is made."""

    __test__ = False

    def __init__(self, store: Store, target: Target) -> None:
        self._store = store
        self._target = target
        self.num_reads = 0

    def open_once(
        self, chosen: Sequence[Candidate], trained: dict[str, dict[str, Tensor]], device: torch.device
    ) -> TestPredictions:
        """Predict with everything that was chosen, in one read; a second call is an error."""
        if self.num_reads:
            raise IcecoreError(f"{self._store.url}: the test split was read already; choose first, then read it once")
        self.num_reads += 1
        rows = self._store.rows("test")
        keys = self._store.samples["key"].take(rows).to_pylist()
        labels = self._target.truth(self._store, rows)
        found = predict(self._store, rows, trained, chosen, self._target, device)
        return TestPredictions(rows, keys, labels, groups_of(self._store, rows), found)


def count_read(run: str, selector: str) -> int:
    """Record, before the test split is read, that it will be; return how often it was by then, this time included."""
    path = Path(run) / READS
    reads = [*_reads(path), {"selector": selector}]
    write_atomic(str(path), seal({"reads": reads}, {}))
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
