"""Successive halving: which adapters stop early, by validation loss at a few rungs (Jamieson and Talwalkar 2016).

A contest is adapters of one family that read the same layers, in the same batches, phases and number of epochs. No
contest looks at another, so who goes on depends on no thread, group or other layer, and every layer keeps its best. Who
goes on is trained exactly as without halving: the rungs take no part in its learning rate or its batches.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..adapters import get_adapter
from ..adapters.optional import phases_of
from ..runs.candidate import Candidate
from ..runs.result import STATUS_STOPPED


class Rung(NamedTuple):
    """After the share `at` of its epochs, the best `keep` of a contest go on; at least one."""

    at: float
    keep: float


# Chosen by the accuracy that one adapter and an ensemble lose on four data sets: docs/results/halving.md.
RUNGS = (Rung(0.05, 1 / 2), Rung(0.25, 1 / 4), Rung(0.5, 1 / 8))

Contest = tuple[str, tuple[int, ...], tuple[float, ...], int, int]


class Halving:
    """The rungs of the contests that some candidates are in, all of each contest among them."""

    def __init__(self, candidates: Iterable[Candidate], rungs: Sequence[Rung] = RUNGS) -> None:
        self._sizes = Counter(contest_of(candidate) for candidate in candidates)
        self._rungs = rungs

    def stopped(self, standing: Iterable[tuple[Candidate, float]], epoch: int) -> dict[str, str]:
        """Say by id who stops after an epoch, counted from 1, and why, given all that train on and their losses."""
        contests: dict[Contest, list[tuple[float, str]]] = {}
        for candidate, loss in standing:
            contests.setdefault(contest_of(candidate), []).append((loss, candidate.adapter_id))
        found: dict[str, str] = {}
        for contest, there in contests.items():
            for place, (_, adapter_id) in list(enumerate(sorted(there), 1))[self._num_kept(contest, epoch) :]:
                found[adapter_id] = f"{STATUS_STOPPED} in epoch {epoch}: {place} of {len(there)} by validation loss"
        return found

    def _num_kept(self, contest: Contest, epoch: int) -> int:
        """Return how many of a contest go on after an epoch."""
        size, epochs = self._sizes[contest], contest[-1]
        passed = [rung.keep for rung in self._rungs if rung.at * epochs <= epoch < epochs]
        return max(1, math.ceil(min(passed, default=1.0) * size))

    @property
    def num_epochs(self) -> int:
        """How many epochs of single adapters are trained if none ends for another reason."""
        return sum(
            size + sum(self._num_kept(contest, epoch) for epoch in range(1, contest[-1]))
            for contest, size in self._sizes.items()
        )

    @property
    def num_lasting_epochs(self) -> int:
        """How many epochs those have who go on to the end, the same trained once more and nobody stopped."""
        return sum(self._num_kept(contest, contest[-1] - 1) * contest[-1] for contest in self._sizes)


def contest_of(candidate: Candidate) -> Contest:
    """Return what the adapters share that halve against each other."""
    family, recipe = get_adapter(candidate.adapter), candidate.recipe
    phases = phases_of(family, family.recorded(candidate.config))
    return candidate.adapter, candidate.layers, phases, recipe.batch_size, recipe.epochs
