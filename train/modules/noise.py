"""Random numbers of one training step: every adapter has its own generator and does not depend on its neighbours.

A dropout mask is a function of the adapter's seed, the step and the order of calls in the forward pass, so that an
interrupted sweep draws the same masks again.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SPREAD = 1_000_003  # between the generator seeds of two adapter seeds


class Noise:
    """The random numbers of one step of a stack; `dropout` is the dropout rate of each adapter's recipe."""

    def __init__(self, seeds: Sequence[int], step: int, dropout: Sequence[float]) -> None:
        self._dropout = list(dropout)
        self.drops = any(dropout)
        self._generators = [torch.Generator().manual_seed((seed * SPREAD + step) % 2**63) for seed in seeds]

    def drop(
        self, values: Float[Tensor, "adapter *shape"], rate: float | None = None
    ) -> Float[Tensor, "adapter *shape"]:
        """Apply dropout to each adapter's values, at `rate` or at the rate of the adapter's recipe."""
        rates = self._dropout if rate is None else [rate] * len(self._generators)
        if not any(rates):
            return values
        masks = [
            self._mask(values[0].shape, *rate_and_generator)
            for rate_and_generator in zip(rates, self._generators, strict=True)
        ]
        return values * torch.stack(masks).to(values)

    def _mask(self, shape: torch.Size, rate: float, generator: torch.Generator) -> Tensor:
        return torch.empty(shape).bernoulli_(1 - rate, generator=generator) / (1 - rate)
