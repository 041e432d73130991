"""The contract of an in-backbone method: what it trains inside a vision transformer of timm.

Such a method needs the gradient through the blocks, which no cache of tokens can give. Knows no data and no optimiser.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import torch

from icecore.store import Frozen


class Method(Frozen):
    """One method with its configuration; the fields are what a user may choose of it."""

    lrs: ClassVar[tuple[float, ...]]  # tried where none is asked for
    merges: ClassVar[bool] = True  # whether a plain backbone with other weights does the same

    @abstractmethod
    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Add to a frozen model what is trained, or thaw it; the classifier is not its business.

        What is added, prompts aside, leaves the outputs as they were until the first step: of every product of trained
        factors exactly one side is zero, so that it alone has a gradient in the first step, and both from then on.
        UsageError where the configuration does not fit the model.
        """


def draw(*shape: int, std: float, generator: torch.Generator) -> torch.nn.Parameter:
    """Return a trained tensor of normally distributed numbers."""
    return torch.nn.Parameter(torch.randn(shape, generator=generator) * std)
