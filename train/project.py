"""A linear map for every member of a stack, with gradients laid out as the optimiser wants them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class _Project(torch.autograd.Function):
    """`torch.matmul` would hand back a transposed weight gradient, and copying it costs more than computing it."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        cast = weight.to(inputs.dtype)
        ctx.save_for_backward(inputs, cast)
        ctx.dtype = weight.dtype
        return torch.bmm(inputs, cast.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor]:
        inputs, cast = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_inputs = torch.bmm(gradient, cast) if ctx.needs_input_grad[0] else None
        turned = gradient.transpose(1, 2)
        to_weight = turned * inputs if inputs.shape[1] == 1 else torch.bmm(turned, inputs)  # one row: a third the time
        return to_inputs, to_weight.to(ctx.dtype)


def project(
    inputs: Float[Tensor, "stack row inputs"], weight: Float[Tensor, "stack outputs inputs"]
) -> Float[Tensor, "stack row outputs"]:
    """Apply each weight (outputs x inputs) to its own rows, in the dtype of the rows."""
    return _Project.apply(inputs.contiguous(), weight)  # pyright: ignore[reportReturnType]
