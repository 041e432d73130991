"""int8: a quarter of float32, one scale a token."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..spec import LayerSpec
from .part import Part, ValueOutOfRange

LEVELS = 127


class Int8:
    """Symmetric, one float32 scale a token, its largest |value| / 127; absolute error <= scale / 2."""

    name = "int8"
    needs_channel_scale = False

    def parts(self, layer: LayerSpec) -> dict[str, Part]:
        """Return the arrays that hold one layer."""
        return {
            "values": Part(np.dtype("i1"), (layer.num_tokens, layer.width), ("token", "width")),
            "scale": Part(np.dtype("<f4"), (layer.num_tokens,), ("token",)),
        }

    def encode(
        self, tokens: Float[Tensor, "row token width"], channel_scale: Float[Tensor, " width"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the parts of a batch; ValueOutOfRange where a value is not finite."""
        exact = tokens.float()
        scale = exact.abs().amax(-1) / LEVELS
        if not bool(torch.isfinite(scale).all()):
            row = int((~torch.isfinite(scale)).any(1).nonzero()[0, 0])
            value = float(exact[row][~torch.isfinite(exact[row])][0])
            raise ValueOutOfRange(row, value, "is not finite; int8 keeps finite values only")
        step = torch.where(scale > 0, scale, 1.0)
        values = (exact / step[..., None]).round_().clamp_(-LEVELS, LEVELS).to(torch.int8)
        return {"values": values.cpu().contiguous().numpy(), "scale": scale.cpu().contiguous().numpy()}

    def decode(
        self,
        parts: Mapping[str, np.ndarray],
        dtype: torch.dtype,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of a batch."""
        scale = torch.from_numpy(parts["scale"])
        return torch.from_numpy(parts["values"]).float().mul_(scale[..., None]).to(dtype)
