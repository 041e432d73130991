"""A stack in training: the adapters, the candidate that each of them is, and their optimiser.

The module moves a stack by one batch and drops adapters from it; it knows nothing of rows, layers or whole epochs.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..adapters.adapter import Adapter
from ..adapters.optional import Phased, phase_rates_of, phases_of
from ..modules.noise import Noise
from ..runs.candidate import Candidate
from ..targets.target import LossWeights
from .optimizer import StackedAdamW, phase_starts, rate


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Adapters of one family and configuration in training; `candidates` are in the order of the `adapter` axis."""

    candidates: tuple[Candidate, ...]
    adapter: Adapter
    optimizer: StackedAdamW
    loss_weights: LossWeights

    @property
    def parameters(self) -> list[Tensor]:
        """The trained tensors."""
        return list(self.adapter.parameters())

    def step(self, gradients: Sequence[Tensor], step: int, steps_per_epoch: int) -> None:
        """Update every adapter at the rate of its own schedule; `step` counts from 0 over all epochs."""
        rates = [self._rate(candidate, step, steps_per_epoch) for candidate in self.candidates]
        self.optimizer.step(gradients, rates)

    def _starts(self, candidate: Candidate) -> list[int]:
        return phase_starts(phases_of(type(self.adapter), self.adapter.config), candidate.recipe.epochs)

    def _rate(self, candidate: Candidate, step: int, steps_per_epoch: int) -> float:
        borders = [*self._starts(candidate), candidate.recipe.epochs]
        phase = bisect_right(borders[:-1], step // steps_per_epoch) - 1
        num_steps = (borders[phase + 1] - borders[phase]) * steps_per_epoch
        lr = candidate.recipe.lr * phase_rates_of(type(self.adapter), self.adapter.config)[phase]
        return rate(lr, step - borders[phase] * steps_per_epoch, num_steps)

    def begin_epoch(self, epoch: int) -> None:
        """Enter the phase that begins with `epoch`, counted from 1, for every adapter that has one."""
        if not isinstance(self.adapter, Phased):
            return
        for index, candidate in enumerate(self.candidates):
            starts = self._starts(candidate)
            if epoch > 1 and epoch - 1 in starts:
                phase = starts.index(epoch - 1)
                self.adapter.enter(phase, index, torch.Generator().manual_seed(candidate.init_seed + phase))
                self.optimizer.reset(index)

    def noise(self, step: int) -> Noise:
        """Return the random numbers of a training step, counted from 0 over all epochs."""
        seeds = [candidate.init_seed for candidate in self.candidates]
        return Noise(seeds, step, [candidate.recipe.dropout for candidate in self.candidates])

    def subset(self, keep: Sequence[int]) -> "Stack":
        """Return a stack of the adapters at the indices `keep`, in the middle of their training."""
        adapter = self.adapter.subset(keep)
        return Stack(
            candidates=tuple(self.candidates[index] for index in keep),
            adapter=adapter,
            optimizer=self.optimizer.subset(keep, list(adapter.parameters())),
            loss_weights=self.loss_weights.subset(keep),
        )

    def tensors(self, index: int) -> dict[str, Tensor]:
        """Return a copy of the tensors of the adapter at `index`, on the CPU."""
        return tensors_of(self.adapter, index)

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that the next step depends on, by name: no copies, so that a checkpoint can be loaded."""
        names = [name for name, _ in self.adapter.named_parameters()]
        kinds = {"parameter": [parameter.detach() for parameter in self.parameters], **self.optimizer.moments}
        untrained = {f"untrained/{name}": tensor for name, tensor in self.adapter.named_buffers()}
        return untrained | {
            f"{kind}/{name}": tensor
            for kind, tensors in kinds.items()
            for name, tensor in zip(names, tensors, strict=True)
        }


def tensors_of(stack: Adapter, index: int) -> dict[str, Tensor]:
    """Return a copy of the tensors of the adapter at `index` of a stack, on the CPU."""
    return {name: tensor[index].detach().cpu().clone() for name, tensor in stack.tensors().items()}


def start(candidates: Sequence[Candidate], adapter: Adapter, loss_weights: LossWeights) -> Stack:
    """Return the stack of a freshly built adapter, with an optimiser that has made no step."""
    recipes = [candidate.recipe for candidate in candidates]
    optimizer = StackedAdamW(
        parameters=list(adapter.parameters()),
        weight_decay=[recipe.weight_decay for recipe in recipes],
        clip=[recipe.clip for recipe in recipes],
    )
    return Stack(candidates=tuple(candidates), adapter=adapter, optimizer=optimizer, loss_weights=loss_weights)


def gradients_of(losses: Sequence[Float[Tensor, " _adapter"]], stacks: Sequence[Stack]) -> list[list[Tensor]]:
    """Return the gradients of each stack's parameters, losses and penalties included.

    One backward pass over the sum of all losses serves, since no two adapters share a parameter.
    """
    parameters = [stack.parameters for stack in stacks]
    penalties = [penalty for stack in stacks if (penalty := stack.adapter.penalty()) is not None]
    total = torch.cat([*losses, *penalties]).sum()
    flat = list(torch.autograd.grad(total, [parameter for of_stack in parameters for parameter in of_stack]))
    return [[flat.pop(0) for _ in of_stack] for of_stack in parameters]
