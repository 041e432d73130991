"""Successive halving: stop adapters early, by validation loss at a few rungs (Jamieson and Talwalkar 2016).

A contest is the adapters of one family that read the same layers, with the same batch size, phases and number of
epochs. Contests are independent, so that the result depends on no thread, task or other layer, and every layer keeps
its best adapter. The adapters that go on are trained exactly as without halving: learning rates and batches are equal.
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
    """After the share `at` of the epochs, the best share `keep` of a contest goes on: at least one adapter."""

    at: float
    keep: float


# Chosen by the accuracy that one adapter and an ensemble lose on four data sets: docs/results/halving.md.
RUNGS = (Rung(0.05, 1 / 2), Rung(0.25, 1 / 4), Rung(0.5, 1 / 8))

Contest = tuple[str, tuple[int, ...], tuple[float, ...], int, int]


class Halving:
    """The contests among some candidates, and their rungs; a contest must be complete.

    >>> Halving([]).num_epochs
    0
    """

    def __init__(self, candidates: Iterable[Candidate], rungs: Sequence[Rung] = RUNGS) -> None:
        self._sizes = Counter(contest_of(candidate) for candidate in candidates)
        self._rungs = rungs

    def stopped(self, standing: Iterable[tuple[Candidate, float]], epoch: int) -> dict[str, str]:
        """Return the status of each adapter that stops after `epoch` (counted from 1), by adapter id.

        `standing` holds the candidates still in training, each with its validation loss.
        """
        contests: dict[Contest, list[tuple[float, str]]] = {}
        for candidate, loss in standing:
            contests.setdefault(contest_of(candidate), []).append((loss, candidate.adapter_id))
        statuses: dict[str, str] = {}
        for contest, members in contests.items():
            for rank, (_, adapter_id) in list(enumerate(sorted(members), 1))[self._num_kept(contest, epoch) :]:
                statuses[adapter_id] = f"{STATUS_STOPPED} in epoch {epoch}: {rank} of {len(members)} by validation loss"
        return statuses

    def _num_kept(self, contest: Contest, epoch: int) -> int:
        """Return how many adapters of a contest go on after an epoch."""
        size, epochs = self._sizes[contest], contest[-1]
        passed = [rung.keep for rung in self._rungs if rung.at * epochs <= epoch < epochs]
        return max(1, math.ceil(min(passed, default=1.0) * size))

    @property
    def num_epochs(self) -> int:
        """The number of epochs, summed over adapters, if none ends for another reason."""
        return sum(
            size + sum(self._num_kept(contest, epoch) for epoch in range(1, contest[-1]))
            for contest, size in self._sizes.items()
        )

    @property
    def num_lasting_epochs(self) -> int:
        """The number of epochs, summed over the adapters that go on to the end, when they are trained without stops."""
        return sum(self._num_kept(contest, contest[-1] - 1) * contest[-1] for contest in self._sizes)


def contest_of(candidate: Candidate) -> Contest:
    """Return the key of a candidate's contest: family, layers, phases, batch size and epochs."""
    family, recipe = get_adapter(candidate.adapter), candidate.recipe
    phases = phases_of(family, family.recorded(candidate.config))
    return candidate.adapter, candidate.layers, phases, recipe.batch_size, recipe.epochs
