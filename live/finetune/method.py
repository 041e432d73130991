"""The contract of an in-backbone method, which trains parameters inside a timm vision transformer.

An in-backbone method needs the gradient through the blocks, which cached tokens cannot give. Knows no data and no
optimiser.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import torch

from icecore.store import Frozen


class Method(Frozen):
    """One method with its configuration; the fields are the options that `--option METHOD.NAME=VALUE` sets."""

    lrs: ClassVar[tuple[float, ...]]  # learning rates to try where the user gives none
    merges: ClassVar[bool] = True  # whether the trained model equals a plain backbone with changed weights

    @abstractmethod
    def attach(self, model: Any, generator: torch.Generator) -> None:
        """Add trained parameters to a frozen model, or unfreeze some of its own; leave the classifier alone.

        Except for prompts, the outputs are unchanged before the first step: of every product of trained factors exactly
        one factor starts at zero, so that this factor has a gradient in the first step, and both from then on.

        Raises:
            UsageError: the configuration does not fit the model.
        """


def draw(*shape: int, std: float, generator: torch.Generator) -> torch.nn.Parameter:
    """Return a parameter of the given shape, drawn from N(0, std^2)."""
    return torch.nn.Parameter(torch.randn(shape, generator=generator) * std)
