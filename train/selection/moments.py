"""Sums, and sums of products, of the adapters' predictions and the truth, over many draws of rows at once.

Sum_r n_r P_a[r] . P_b[r] needs the products of each row r once, however many draws have the row n_r times. Products of
many outputs are estimated: outputs are first added up, with random signs, to a few sums (Charikar et al. 2002), which
keep every product in expectation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from ..runs.validation_predictions import ValidationPredictions

NUM_SUMS = 128  # up to this many outputs, products are exact; more are summed with random signs
BATCH_ROWS = 64
PIECE = 128  # regressors: products of two pieces, for a batch of rows, stay in a core's cache


@dataclass(frozen=True)
class Moments:
    """Over some rows: their number, sums and sums of products of regressors; the last regressor is the label."""

    count: int
    sums: Float[Tensor, "regressor output"]
    products: Float[Tensor, "regressor regressor"]

    @staticmethod
    def total(parts: "Sequence[Moments]") -> "Moments":
        """Return the moments of the union of disjoint parts."""
        return Moments(
            sum(part.count for part in parts),
            torch.stack([part.sums for part in parts]).sum(0),
            torch.stack([part.products for part in parts]).sum(0),
        )

    def __sub__(self, part: "Moments") -> "Moments":
        """Return the moments of the rows outside `part`."""
        return Moments(self.count - part.count, self.sums - part.sums, self.products - part.products)

    def centred(self) -> tuple[Float[Tensor, "adapter other"], Float[Tensor, " adapter"]]:
        """Return the centred products of adapters with each other, and of each adapter with the labels."""
        found = self.products - self.sums @ self.sums.T / max(self.count, 1)
        return found[:-1, :-1], found[:-1, -1]


def moments(
    kept: ValidationPredictions, counts: Int64[Tensor, "draw row"], parts: Sequence[Bool[Tensor, " row"]]
) -> list[list[Moments]]:
    """Return the moments of each part of the rows, for every draw, from one pass over the predictions."""
    found = [_Accumulator(len(counts)) for _ in parts]
    for start, stop, regressors in _regressors(kept):
        for part, held in zip(found, parts, strict=True):
            rows = held[start:stop].nonzero()[:, 0]
            part.add(regressors[:, rows], counts[:, start + rows])
    return [list(of_draw) for of_draw in zip(*(part.result() for part in found), strict=True)]


def _regressors(kept: ValidationPredictions) -> Iterator[tuple[int, int, Float[Tensor, "regressor row output"]]]:
    """Yield (start, stop, regressors) for each block of rows: all predictions, then the labels."""
    truth, num_outputs = kept.labels, kept.tables.num_outputs
    if truth.is_floating_point():  # an unknown label becomes its output's mean
        truth = torch.where(truth.isnan(), truth.nanmean(0).nan_to_num(0), truth)
    signs = torch.randint(2, (num_outputs,), generator=torch.Generator().manual_seed(0)) * 2 - 1
    for start, stop, tables in kept.tables.blocks():
        rows = truth[start:stop]
        numbers = rows if truth.ndim > 1 else one_hot(rows, num_outputs)
        yield start, stop, torch.cat([_added_up(one, signs.to(tables)) for one in (tables, numbers[None].to(tables))])


def _added_up(
    values: Float[Tensor, "regressor row output"], signs: Float[Tensor, " output"]
) -> Float[Tensor, "regressor row sum"]:
    if len(signs) <= NUM_SUMS:
        return values
    found = torch.zeros(*values.shape[:2], NUM_SUMS, dtype=values.dtype)
    for some, of_some in zip(values.split(NUM_SUMS, 2), signs.split(NUM_SUMS), strict=True):
        found[..., : len(of_some)].addcmul_(some, of_some)
    return found


class _Accumulator:
    """Accumulates moments over rows, in batches of at least `BATCH_ROWS`."""

    def __init__(self, num_draws: int) -> None:
        self._num_draws = num_draws
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._count = torch.zeros(num_draws, dtype=torch.int64)
        self._sums = torch.empty(0)
        self._products: list[tuple[slice, slice, Tensor]] = []  # each unordered pair of pieces once

    def add(self, regressors: Float[Tensor, "regressor row output"], counts: Int64[Tensor, "draw row"]) -> None:
        """Add rows; row i counts counts[draw, i] times in a draw."""
        self._waiting.append((regressors, counts))
        if sum(waiting.shape[1] for _, waiting in self._waiting) >= BATCH_ROWS:
            self._add_up()

    def _add_up(self) -> None:
        regressors, counts = (torch.cat(parts, 1) for parts in zip(*self._waiting, strict=True))
        self._waiting = []
        by_row = regressors.transpose(0, 1).contiguous()  # row, regressor, output
        if not len(self._sums):
            self._begin(by_row)
        self._count += counts.sum(1)
        often = counts.to(by_row)
        self._sums.flatten(1).addmm_(often, by_row.flatten(1))
        for one, other, products in self._products:
            products.flatten(1).addmm_(often, (by_row[:, one] @ by_row[:, other].mT).flatten(1))

    def _begin(self, by_row: Float[Tensor, "row regressor output"]) -> None:
        num_regressors = by_row.shape[1]
        self._sums = by_row.new_zeros(self._num_draws, *by_row.shape[1:])
        starts = range(0, num_regressors, PIECE)
        pieces = [slice(start, min(start + PIECE, num_regressors)) for start in starts]
        for one, other in combinations_with_replacement(pieces, 2):
            shape = self._num_draws, one.stop - one.start, other.stop - other.start
            self._products.append((one, other, by_row.new_zeros(shape)))

    def result(self) -> Iterator[Moments]:
        """Yield the moments of every draw."""
        if self._waiting:
            self._add_up()
        for draw, (count, sums) in enumerate(zip(self._count.tolist(), self._sums, strict=True)):
            products = sums.new_empty(len(sums), len(sums))
            for one, other, found in self._products:
                products[one, other] = found[draw]
                products[other, one] = found[draw].T
            yield Moments(count, sums, products)
