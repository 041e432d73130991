"""A stack in training: the adapters, the candidates that they are, and their optimiser.

Knows how to move them by one batch and to let some go; nothing of rows, layers or epochs.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..adapters.adapter import Adapter
from ..modules.noise import Noise
from ..runs.candidate import Candidate
from ..targets.target import LossWeights
from .optimizer import StackedAdamW, phase_starts, rate


@dataclass(frozen=True)
class Stack:
    """One entry a candidate, in the order of the `adapter` axis."""

    candidates: tuple[Candidate, ...]
    adapter: Adapter
    optimizer: StackedAdamW
    emphasis: LossWeights

    @property
    def parameters(self) -> list[Tensor]:
        """What is trained."""
        return list(self.adapter.parameters())

    def step(self, gradients: Sequence[Tensor], step: int, steps_per_epoch: int) -> None:
        """Move every adapter along its own schedule."""
        self.optimizer.step(gradients, [self._rate(one, step, steps_per_epoch) for one in self.candidates])

    def _starts(self, candidate: Candidate) -> list[int]:
        return phase_starts(self.adapter.phases(self.adapter.config), candidate.recipe.epochs)

    def _rate(self, candidate: Candidate, step: int, steps_per_epoch: int) -> float:
        starts = [*self._starts(candidate), candidate.recipe.epochs]
        phase = bisect_right(starts[:-1], step // steps_per_epoch) - 1
        num_steps = (starts[phase + 1] - starts[phase]) * steps_per_epoch
        lr = candidate.recipe.lr * self.adapter.phase_rates(self.adapter.config)[phase]
        return rate(lr, step - starts[phase] * steps_per_epoch, num_steps)

    def begin_epoch(self, epoch: int) -> None:
        """Enter a new phase with every adapter for which one begins with this epoch, counted from 1."""
        for index, candidate in enumerate(self.candidates):
            starts = self._starts(candidate)
            if epoch > 1 and epoch - 1 in starts:
                phase = starts.index(epoch - 1)
                self.adapter.enter(phase, index, torch.Generator().manual_seed(candidate.init_seed + phase))
                self.optimizer.reset(index)

    def noise(self, step: int) -> Noise:
        """Return what a training step draws."""
        seeds = [candidate.init_seed for candidate in self.candidates]
        return Noise(seeds, step, [candidate.recipe.dropout for candidate in self.candidates])

    def subset(self, keep: Sequence[int]) -> "Stack":
        """Return a stack of some of them, in the middle of their training."""
        adapter = self.adapter.subset(keep)
        optimizer = self.optimizer.subset(keep, list(adapter.parameters()))
        return Stack(tuple(self.candidates[index] for index in keep), adapter, optimizer, self.emphasis.subset(keep))

    def tensors(self, index: int) -> dict[str, Tensor]:
        """Return a copy of the tensors of one adapter."""
        return tensors_of(self.adapter, index)

    def state(self) -> dict[str, Tensor]:
        """Return everything that its next step depends on: the tensors themselves, to read or to write into."""
        names = [name for name, _ in self.adapter.named_parameters()]
        kinds = {"parameter": [parameter.detach() for parameter in self.parameters], **self.optimizer.moments}
        untrained = {f"untrained/{name}": tensor for name, tensor in self.adapter.named_buffers()}
        return untrained | {f"{kind}/{names[place]}": one for kind, of in kinds.items() for place, one in enumerate(of)}


def tensors_of(stack: Adapter, index: int) -> dict[str, Tensor]:
    """Return a copy of the tensors of one adapter."""
    return {name: tensor[index].detach().cpu().clone() for name, tensor in stack.tensors().items()}


def start(candidates: Sequence[Candidate], adapter: Adapter, emphasis: LossWeights) -> Stack:
    """Begin the training of a fresh stack."""
    recipes = [candidate.recipe for candidate in candidates]
    optimizer = StackedAdamW(
        list(adapter.parameters()), [recipe.weight_decay for recipe in recipes], [recipe.clip for recipe in recipes]
    )
    return Stack(tuple(candidates), adapter, optimizer, emphasis)


def gradients_of(losses: Sequence[Float[Tensor, " _adapter"]], stacks: Sequence[Stack]) -> list[list[Tensor]]:
    """Return each stack's gradients: of the sum of losses and penalties, since adapters share no parameter."""
    parameters = [stack.parameters for stack in stacks]
    penalties = [penalty for stack in stacks if (penalty := stack.adapter.penalty()) is not None]
    total = torch.cat([*losses, *penalties]).sum()
    flat = list(torch.autograd.grad(total, [p for mine in parameters for p in mine]))
    return [[flat.pop(0) for _ in mine] for mine in parameters]
