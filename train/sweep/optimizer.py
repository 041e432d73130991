"""AdamW for a stack, and the learning-rate schedule: every adapter has its own rate, decay and gradient clip.

An adapter is updated as if it were alone. Weight decay is decoupled and applies to every parameter. In every phase the
learning rate warms up linearly, then falls along half a cosine to zero.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


class StackedAdamW:
    """AdamW with one weight decay and one gradient clip for each adapter of a stack; None does not clip."""

    def __init__(
        self, parameters: Sequence[Tensor], weight_decay: Sequence[float], clip: Sequence[float | None]
    ) -> None:
        self._parameters = list(parameters)
        self._weight_decay = list(weight_decay)
        self._clip = list(clip)
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self.num_steps = [0] * len(self._clip)
        self._set_views()

    @property
    def moments(self) -> dict[str, list[Tensor]]:
        """First and second moments in the order of the parameters: no copies, so that a checkpoint can be loaded."""
        return {"mean": self._means, "square": self._squares}

    def _set_views(self) -> None:
        """Keep one list of views for each adapter, so that a step costs no indexing."""
        kinds = (self._parameters, self._means, self._squares)
        self._views = [list(zip(*(tensor.detach().unbind() for tensor in kind), strict=True)) for kind in kinds]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rates: Sequence[float]) -> None:
        """Update every adapter with its own learning rate; `gradients` are in the order of the parameters."""
        by_adapter = list(zip(*(gradient.contiguous().unbind() for gradient in gradients), strict=True))
        for index, rate in enumerate(rates):
            self.num_steps[index] += 1
            clip = self._clip[index]
            if clip is not None:
                by_adapter[index] = _clipped(by_adapter[index], clip)
            self._update(index, by_adapter[index], rate)

    def _update(self, index: int, gradients: Sequence[Tensor], rate: float) -> None:
        parameters, means, squares = (list(view[index]) for view in self._views)
        count = torch.tensor(float(self.num_steps[index]), device=parameters[0].device)
        # One fused pass over memory for each adapter; torch.optim offers it only with one rate for all parameters.
        torch.ops.aten._fused_adamw_(
            parameters,
            list(gradients),
            means,
            squares,
            [],
            [count] * len(parameters),
            lr=rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self._weight_decay[index],
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )

    def reset(self, index: int) -> None:
        """Set the moments and the step count of the adapter at `index` to zero."""
        self.num_steps[index] = 0
        for tensor in (*self._means, *self._squares):
            tensor[index] = 0

    def subset(self, keep: Sequence[int], parameters: Sequence[Tensor]) -> "StackedAdamW":
        """Return an optimiser with the moments of the adapters at the indices `keep`, with tensors `parameters`."""
        weight_decay = [self._weight_decay[index] for index in keep]
        kept = StackedAdamW(parameters, weight_decay, [self._clip[index] for index in keep])
        kept._means = [mean[list(keep)] for mean in self._means]
        kept._squares = [square[list(keep)] for square in self._squares]
        kept.num_steps = [self.num_steps[index] for index in keep]
        kept._set_views()
        return kept


def _clipped(gradients: Sequence[Tensor], clip: float) -> tuple[Float[Tensor, "..."], ...]:
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    scale = torch.clamp(clip / (norm + 1e-6), max=1.0)
    return tuple(gradient * scale for gradient in gradients)


WARM_UP = 0.05  # of all steps of a phase


def rate(lr: float, step: int, num_steps: int) -> float:
    """Return the learning rate at `step` of a phase, counted from 0; `lr` is the peak.

    >>> [round(rate(1.0, step, 5), 2) for step in range(5)]
    [1.0, 1.0, 0.85, 0.5, 0.15]
    """
    warm_up = max(1, round(WARM_UP * num_steps))
    if step < warm_up:
        return lr * (step + 1) / warm_up
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))


def phase_starts(shares: Sequence[float], num_epochs: int) -> list[int]:
    """Return the first epoch of each phase, counted from 0; every phase gets an epoch if there are enough.

    >>> phase_starts((0.5, 0.5), 9)
    [0, 4]
    """
    starts = [0]
    for share in shares[:-1]:
        starts.append(min(num_epochs, max(starts[-1] + 1, starts[-1] + round(share * num_epochs))))
    return starts
