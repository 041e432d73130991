"""int8: a quarter of the bytes of float32, one scale a token."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from jaxtyping import Int8 as Int8Tensor
from torch import Tensor

from ..format.part import Part, ValueOutOfRange
from ..format.spec import LayerSpec

LEVELS = 127
BLOCK_ROWS = 4  # quantised at a time: a block that fits the CPU's cache is twice as fast


class Int8:
    """Symmetric quantisation; scale: a token's largest |value| / 127, float32; absolute error <= scale / 2."""

    name = "int8"
    needs_channel_scale = False

    def parts(self, layer: LayerSpec) -> dict[str, Part]:
        """Return the declarations of the arrays that hold one layer."""
        return {
            "values": Part(np.dtype("i1"), (layer.num_tokens, layer.width), ("token", "width")),
            "scale": Part(np.dtype("<f4"), (layer.num_tokens,), ("token",)),
        }

    def encode(
        self, tokens: Float[Tensor, "row token width"], channel_scale: Float[Tensor, " width"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the parts of a batch.

        Raises:
            ValueOutOfRange: a value is not finite.
        """
        values = torch.empty(tokens.shape, dtype=torch.int8, device=tokens.device)
        scale = torch.empty(tokens.shape[:2], device=tokens.device)
        for start in range(0, len(tokens), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            _quantise(tokens[block].float(), values[block], scale[block])
        if not bool(torch.isfinite(scale).all()):
            row = int((~torch.isfinite(scale)).any(1).nonzero()[0, 0])
            value = float(tokens[row][~torch.isfinite(tokens[row])][0])
            raise ValueOutOfRange(row, value, "is not finite; int8 keeps finite values only")
        return {"values": values.cpu().numpy(), "scale": scale.cpu().numpy()}

    def decode(
        self,
        parts: Mapping[str, Tensor],
        dtype: torch.dtype,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of a batch."""
        scale = parts["scale"]
        return parts["values"].float().mul_(scale[..., None]).to(dtype)


def _quantise(
    exact: Float[Tensor, "row token width"],
    values: Int8Tensor[Tensor, "row token width"],
    scale: Float[Tensor, "row token"],
) -> None:
    scale[:] = exact.abs().amax(-1) / LEVELS
    step = torch.where(scale > 0, scale, 1.0)
    values[:] = (exact / step[..., None]).round_().clamp_(-LEVELS, LEVELS)
