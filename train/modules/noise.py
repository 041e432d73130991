"""What one training step draws at random: every adapter from its own generator, so that none depends on its neighbours.

A mask is a function of the adapter's seed, of the step and of its place in the forward; a sweep that was interrupted
draws the same again.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SPREAD = 1_000_003  # between the steps of one seed


class Noise:
    """The random numbers of one step of a stack; `dropout` is the share that each adapter's recipe drops."""

    def __init__(self, seeds: Sequence[int], step: int, dropout: Sequence[float]) -> None:
        self._dropout = list(dropout)
        self.drops = any(dropout)
        self._generators = [torch.Generator().manual_seed((seed * SPREAD + step) % 2**63) for seed in seeds]

    def drop(
        self, values: Float[Tensor, "adapter *shape"], rate: float | None = None
    ) -> Float[Tensor, "adapter *shape"]:
        """Zero a share of each adapter's values and scale up the rest; the recipe's own share unless `rate` says."""
        rates = self._dropout if rate is None else [rate] * len(self._generators)
        if not any(rates):
            return values
        masks = [self._mask(values[0].shape, *of) for of in zip(rates, self._generators, strict=True)]
        return values * torch.stack(masks).to(values)

    def _mask(self, shape: torch.Size, rate: float, generator: torch.Generator) -> Tensor:
        return torch.empty(shape).bernoulli_(1 - rate, generator=generator) / (1 - rate)
