"""bfloat16: half the bytes, eight significant bits, the range of float32."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..format.part import Part
from ..format.spec import LayerSpec


class BFloat16:
    """Rounds to nearest: relative error <= 2**-8; exact for bfloat16 input.

    The bits are stored as uint16, with the Zarr attribute `bits: bfloat16`, because zarr-python has no bfloat16.
    """

    name = "bfloat16"
    needs_channel_scale = False

    def parts(self, layer: LayerSpec) -> dict[str, Part]:
        """Return the declarations of the arrays that hold one layer."""
        shape = (layer.num_tokens, layer.width)
        return {"values": Part(np.dtype("<u2"), shape, ("token", "width"), {"bits": "bfloat16"})}

    def encode(
        self, tokens: Float[Tensor, "row token width"], channel_scale: Float[Tensor, " width"] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the parts of a batch."""
        return {"values": tokens.to("cpu", torch.bfloat16).contiguous().view(torch.uint16).numpy()}

    def decode(
        self,
        parts: Mapping[str, Tensor],
        dtype: torch.dtype,
        channel_scale: Float[Tensor, " width"] | None = None,
    ) -> Float[Tensor, "row token width"]:
        """Return the tokens of a batch."""
        return parts["values"].view(torch.bfloat16).to(dtype)
