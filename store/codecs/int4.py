"""int4: two values in a byte, for the smallest cache that keeps every token."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..format.part import Part, ValueOutOfRange
from ..format.spec import LayerSpec

LEVELS = 7
GROUP = 32


class Int4:
    """Symmetric quantisation with one float16 scale for every 32 channels of a token, after per-channel scaling.

    Each channel is divided by its root mean square over a seeded sample of rows, measured before the first row is
    written and kept in the store. In these units the absolute error is <= scale / 2, where scale is the largest
    |value| of the group / 7, rounded up to float16. The last group is padded with zeros.
    """

    name = "int4"
    needs_channel_scale = True

    def parts(self, layer: LayerSpec) -> dict[str, Part]:
        """Return the declarations of the arrays that hold one layer."""
        groups = -(-layer.width // GROUP)
        packed = (layer.num_tokens, groups * GROUP // 2)
        notes = {"bits": "int4", "order": "low nibble first", "width": str(layer.width)}
        return {
            "values": Part(np.dtype("u1"), packed, ("token", "packed"), notes),
            "scale": Part(np.dtype("<f2"), (layer.num_tokens, groups), ("token", "group")),
        }

    def encode(
        self, tokens: Float[Tensor, "row token width"], channel_scale: Float[Tensor, " width"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the parts of a batch.

        Raises:
            ValueOutOfRange: a value is not finite, or the scale of its group overflows float16.
            ValueError: `channel_scale` is missing.
        """
        exact = tokens.float() / _required(channel_scale).to(tokens.device)
        groups = _pad(exact).unflatten(-1, (-1, GROUP))
        scale = _half_rounded_up(groups.abs().amax(-1) / LEVELS)
        if not bool(torch.isfinite(scale).all()):
            row = int((~torch.isfinite(scale)).flatten(1).any(1).nonzero()[0, 0])
            value = float(tokens[row].float().abs().max())
            raise ValueOutOfRange(row, value, "does not fit int4's float16 scale; use bfloat16 or int8")
        step = torch.where(scale > 0, scale.float(), 1.0)
        nibbles = (groups / step[..., None]).round_().clamp_(-LEVELS, LEVELS).to(torch.int8).flatten(-2) + 8
        packed = (nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)).view(torch.uint8)
        return {"values": packed.cpu().contiguous().numpy(), "scale": scale.cpu().contiguous().numpy()}

    def decode(
        self,
        parts: Mapping[str, Tensor],
        dtype: torch.dtype,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of a batch."""
        packed = parts["values"]
        values = torch.stack([packed & 15, packed >> 4], -1).flatten(-2).to(torch.int8) - 8
        scale = parts["scale"].float()
        channels = _required(channel_scale).to(packed.device)
        tokens = (values.unflatten(-1, (-1, GROUP)).float() * scale[..., None]).flatten(-2)[..., : len(channels)]
        return tokens.mul_(channels).to(dtype)


def measure_channel_scale(tokens: Float[Tensor, "row token width"]) -> Float[Tensor, " width"]:
    """Return the root mean square of every channel; 1 for a channel that is always zero."""
    scale = tokens.float().square().mean((0, 1)).sqrt().cpu()
    return torch.where(scale > 0, scale, 1.0)


def _required(channel_scale: Tensor | None) -> Tensor:
    if channel_scale is None:
        raise ValueError("int4: got no channel_scale, expected one factor a channel; pass the one that the store keeps")
    return channel_scale


def _pad(tokens: Tensor) -> Tensor:
    return torch.nn.functional.pad(tokens, (0, -tokens.shape[-1] % GROUP))


def _half_rounded_up(scale: Tensor) -> Tensor:
    half = scale.to(torch.float16)
    above = (half.view(torch.int16) + 1).view(torch.float16)  # the next float16, for positive numbers
    return torch.where(half.float() < scale, above, half)
