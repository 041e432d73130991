"""A stack in training: the adapters, the candidates that they are, and their optimiser.

Knows how to move them by one batch and to let some go; nothing of rows, layers or epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .adapter import Adapter
from .candidate import Candidate
from .optimizer import StackedAdamW
from .schedule import rate


@dataclass(frozen=True)
class Stack:
    """One entry a candidate, in the order of the `adapter` axis."""

    candidates: tuple[Candidate, ...]
    adapter: Adapter
    optimizer: StackedAdamW

    @property
    def parameters(self) -> list[Tensor]:
        """What is trained."""
        return list(self.adapter.parameters())

    def step(self, gradients: Sequence[Tensor], step: int, steps_per_epoch: int) -> None:
        """Move every adapter along its own schedule."""
        recipes = [candidate.recipe for candidate in self.candidates]
        rates = [rate(recipe.lr, step, recipe.epochs * steps_per_epoch) for recipe in recipes]
        self.optimizer.step(gradients, rates)

    def subset(self, keep: Sequence[int]) -> "Stack":
        """Return a stack of some of them, in the middle of their training."""
        adapter = self.adapter.subset(keep)
        optimizer = self.optimizer.subset(keep, list(adapter.parameters()))
        return Stack(tuple(self.candidates[index] for index in keep), adapter, optimizer)

    def tensors(self, index: int) -> dict[str, Tensor]:
        """Return a copy of the parameters of one adapter."""
        return {name: p[index].detach().cpu().clone() for name, p in self.adapter.named_parameters()}

    def state(self) -> dict[str, Tensor]:
        """Return everything that its next step depends on: the tensors themselves, to read or to write into."""
        names = [name for name, _ in self.adapter.named_parameters()]
        kinds = {"parameter": [parameter.detach() for parameter in self.parameters], **self.optimizer.moments}
        return {f"{kind}/{names[place]}": tensor for kind, of in kinds.items() for place, tensor in enumerate(of)}


def start(candidates: Sequence[Candidate], adapter: Adapter) -> Stack:
    """Begin the training of a fresh stack."""
    recipes = [candidate.recipe for candidate in candidates]
    optimizer = StackedAdamW(
        list(adapter.parameters()), [recipe.weight_decay for recipe in recipes], [recipe.clip for recipe in recipes]
    )
    return Stack(tuple(candidates), adapter, optimizer)


def gradients_of(losses: Sequence[Float[Tensor, " _adapter"]], stacks: Sequence[Stack]) -> list[list[Tensor]]:
    """Return each stack's gradients: of the sum of all losses, since no adapter shares a parameter with another."""
    parameters = [stack.parameters for stack in stacks]
    flat = list(torch.autograd.grad(torch.cat(list(losses)).sum(), [p for mine in parameters for p in mine]))
    return [[flat.pop(0) for _ in mine] for mine in parameters]
