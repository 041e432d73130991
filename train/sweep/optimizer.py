"""AdamW over a stack and its learning rate: every adapter has its own rate, decay and clip, as if it were alone.

Decay is decoupled and on every parameter. In every phase the rate warms up linearly, then falls over half a cosine.
Knows no loss.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

BETAS = (0.9, 0.999)
EPS = 1e-8


class StackedAdamW:
    """The moments of a stack's parameters, and the step that uses them."""

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
        """All that it remembers beside `num_steps`, in the order of the parameters; written to when a run goes on."""
        return {"mean": self._means, "square": self._squares}

    def _set_views(self) -> None:
        """Keep one list of tensors an adapter: views, so that a step costs no indexing."""
        kinds = (self._parameters, self._means, self._squares)
        self._views = [list(zip(*(tensor.detach().unbind() for tensor in kind), strict=True)) for kind in kinds]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rates: Sequence[float]) -> None:
        """Move every adapter by its own rate; gradients in the order of the parameters."""
        mine = list(zip(*(gradient.contiguous().unbind() for gradient in gradients), strict=True))
        for index, rate in enumerate(rates):
            self.num_steps[index] += 1
            clip = self._clip[index]
            if clip is not None:
                mine[index] = _clipped(mine[index], clip)
            self._move(index, mine[index], rate)

    def _move(self, index: int, gradients: Sequence[Tensor], rate: float) -> None:
        parameters, means, squares = (list(view[index]) for view in self._views)
        count = torch.tensor(float(self.num_steps[index]), device=parameters[0].device)
        # One pass over memory for each adapter, which torch.optim offers only for one rate at a time.
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
        """Forget all about one adapter, which begins anew."""
        self.num_steps[index] = 0
        for tensor in (*self._means, *self._squares):
            tensor[index] = 0

    def subset(self, keep: Sequence[int], parameters: Sequence[Tensor]) -> "StackedAdamW":
        """Return the optimiser of some of the adapters, whose parameters are given, with their moments."""
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
    """Return the learning rate of a step of a phase, counted from 0."""
    warm_up = max(1, round(WARM_UP * num_steps))
    if step < warm_up:
        return lr * (step + 1) / warm_up
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))


def phase_starts(shares: Sequence[float], num_epochs: int) -> list[int]:
    """Return the epoch, counted from 0, with which each phase begins; every phase has an epoch if there are enough."""
    starts = [0]
    for share in shares[:-1]:
        starts.append(min(num_epochs, max(starts[-1] + 1, starts[-1] + round(share * num_epochs))))
    return starts
